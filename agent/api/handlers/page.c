// SPDX-License-Identifier: GPL-2.0-or-later
/* page.c - the files of the page and the OpenAPI document: they are part of the program. */
#include "agent/api/handlers/page.h"

#include <microhttpd.h>
#include <string.h>

#include "agent/api/reply.h"
#include "common/auto.h"

/* name[], name_end[]: the bytes of a file of the source */
#define FILE_IN(name, path)                                                                        \
	extern const char name[], name##_end[];                                                    \
	__asm__(".section .rodata\n.global " #name "\n.global " #name "_end\n" #name               \
	        ":\n.incbin \"" path "\"\n" #name "_end:\n.byte 0\n.previous")

FILE_IN(page_html, "agent/api/page/index.html");
FILE_IN(page_css, "agent/api/page/app.css");
FILE_IN(page_js, "agent/api/page/app.js");
FILE_IN(page_chart, "agent/api/page/chart.js");
FILE_IN(page_icon, "agent/api/page/icon.svg");
FILE_IN(page_openapi, "docs/openapi.json");

static const struct {
	const char *path, *text, *end, *type;
} files[] = {
	{ "/", page_html, page_html_end, "text/html; charset=utf-8" },
	{ "/page/app.css", page_css, page_css_end, "text/css; charset=utf-8" },
	{ "/page/app.js", page_js, page_js_end, "text/javascript; charset=utf-8" },
	{ "/page/chart.js", page_chart, page_chart_end, "text/javascript; charset=utf-8" },
	{ "/page/icon.svg", page_icon, page_icon_end, "image/svg+xml" },
	{ "/v1/openapi.json", page_openapi, page_openapi_end, "application/json" },
};

int page_get(struct req *q)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(q->route->path, files[i].path))
			return reply_send(q, 200,
			                  MHD_create_response_from_buffer(
			                          (size_t)(files[i].end - files[i].text),
			                          (void *)files[i].text, MHD_RESPMEM_PERSISTENT),
			                  files[i].type);
	return reply_problem(q, 404, "not-found", "this file does not exist");
}
