// SPDX-License-Identifier: GPL-2.0-or-later
/* img_pages.c - writes the memory of one object as CRIU's restore reads it without haul. */
#include "engine/images/img_pages.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/page.h"
#include "engine/images/class_runs.h"
#include "engine/images/img_priv.h"

#define MAGIC_PAGEMAP 0x56084025u

struct img_pages {
	FILE *map, *pages;
};

static FILE *create(int dirfd, const char *name, struct err *e)
{
	AUTO(fd) int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (!f)
		err_sys(e, "create %s", name);
	else
		steal_fd(&fd);
	return f;
}

static int put_head(FILE *map, uint32_t id)
{
	Cimg__PagemapHead head = CIMG__PAGEMAP_HEAD__INIT;
	uint8_t magic[8];

	img_put_le32(magic, MAGIC_COMMON);
	img_put_le32(magic + 4, MAGIC_PAGEMAP);
	head.pages_id = id;
	return fwrite(magic, 1, sizeof(magic), map) == sizeof(magic)
	               ? img_put_message(map, &head.base)
	               : -EIO;
}

int img_pages_new(struct img_pages **out, int dirfd, uint64_t obj, uint32_t id, struct err *e)
{
	struct img_pages *w = calloc(1, sizeof(*w));
	char map[48], pages[48];

	if (!w)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for images");
	snprintf(map, sizeof(map), "pagemap-%s%llu.img", obj_is_shmem(obj) ? "shmem-" : "",
	         (unsigned long long)obj_id(obj));
	snprintf(pages, sizeof(pages), "pages-%u.img", id);
	w->map = create(dirfd, map, e);
	w->pages = w->map ? create(dirfd, pages, e) : NULL;
	if (w->pages && put_head(w->map, id) == 0) {
		*out = w;
		return 0;
	}
	err_set(e, ERR_SYS, EIO, "cannot write %s", map);
	img_pages_end(w, e);
	return err_code(e);
}

int img_pages_run(struct img_pages *w, uint64_t vaddr, uint64_t pages, uint32_t flags,
                  struct err *e)
{
	return pages <= UINT32_MAX && img_put_pages(w->map, vaddr, pages, flags) == 0
	               ? 0
	               : err_set(e, ERR_SYS, EIO, "cannot write a page map");
}

int img_pages_put(struct img_pages *w, const void *data, size_t pages, struct err *e)
{
	return fwrite(data, PAGE_BYTES, pages, w->pages) == pages ? 0 : err_sys(e, "write pages");
}

int img_pages_end(struct img_pages *w, struct err *e)
{
	int r = 0;

	if (w->map && fclose(w->map))
		r = err_sys(e, "write a page map");
	if (w->pages && fclose(w->pages))
		r = err_sys(e, "write pages");
	free(w);
	return r;
}
