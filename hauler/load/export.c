// SPDX-License-Identifier: GPL-2.0-or-later
/* export.c - a state as a directory of images that criu restore takes. */
#include "hauler/load/export.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/images/class_runs.h"
#include "engine/images/img_pages.h"
#include "hauler/load/priv.h"
#include "transport/msg/haul.pb-c.h"

#define STEP_PAGES 128u

static int put_data(struct load *l, struct img_pages *w, uint64_t obj, const struct class_run *r,
                    struct err *e)
{
	uint8_t *buf = malloc(STEP_PAGES * PAGE_BYTES);
	int x = buf ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for pages");

	for (uint64_t done = 0; x == 0 && done < r->pages;) {
		size_t n = r->pages - done < STEP_PAGES ? (size_t)(r->pages - done) : STEP_PAGES;

		x = load_read(l, obj, r->vaddr + done * PAGE_BYTES, buf, n, e);
		if (x == 0)
			x = img_pages_put(w, buf, n, e);
		done += n;
	}
	free(buf);
	return x;
}

static int put_run(struct load *l, struct img_pages *w, uint64_t obj, const struct class_run *run,
                   struct err *e)
{
	uint32_t flags = run->class == PC_EAGER ? PE_PRESENT : PE_PRESENT | PE_LAZY;
	int r = img_pages_run(w, run->vaddr, run->pages, flags, e);

	return r < 0 ? r : put_data(l, w, obj, run, e);
}

static int put_object(struct load *l, int dir, const Haul__Object *o, uint32_t id, struct err *e)
{
	AUTO(class_runs) struct class_runs runs = { 0 };
	struct img_pages *w = NULL;

	if (class_runs_unpack(o->runs.data, o->runs.len, &runs, e) < 0 ||
	    img_pages_new(&w, dir, o->obj, id, e) < 0)
		return err_code(e);
	int r = 0;

	for (size_t i = 0; r == 0 && i < runs.n; i++)
		r = put_run(l, w, o->obj, &runs.v[i], e);
	struct err ignore = ERR_INIT;
	int end = img_pages_end(w, r < 0 ? &ignore : e);

	return r < 0 ? r : end;
}

static int put_all(struct load *l, int dir, struct err *e)
{
	int r = load_images(l, dir, e);

	for (size_t i = 0; r == 0 && i < l->switch_over->n_object; i++)
		r = put_object(l, dir, l->switch_over->object[i], (uint32_t)i + 1, e);
	return r;
}

/* How criu restore has to be called. */
static void say_how(const struct load *l, const char *path, char *how, size_t bytes)
{
	const Haul__Switch *s = l->switch_over;

	snprintf(how, bytes, "criu restore --images-dir %s%s%s%s%s", path,
	         s->shell_job ? " --shell-job" : "", s->tcp_close ? " --tcp-close" : "",
	         s->ext_unix ? " --ext-unix-sk" : "", s->file_locks ? " --file-locks" : "");
}

static int export(struct load *l, const char *path, struct err *e)
{
	if (mkdir(path, 0700) < 0)
		return err_sys(e, "%s", path);
	AUTO(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? err_sys(e, "%s", path) : put_all(l, dir, e);
}

int load_export(const char *archive, unsigned int state, const char *path, char *how, size_t bytes,
                struct err *e)
{
	AUTO(load) struct load *l = NULL;
	int r = load_view(&l, archive, state, e);

	if (r < 0)
		return r;
	r = export(l, path, e);
	if (r < 0)
		return r;
	say_how(l, path, how, bytes);
	return 0;
}
