// SPDX-License-Identifier: GPL-2.0-or-later
/* objects.c - hand shared memory from the page store to CRIU as files. */
#include "agent/gate/objects.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/gate/here.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/images/img.h"
#include "engine/store/store.h"

#define BYTES_MAX (1ULL << 47)

struct objects {
	struct img_object *v;
	size_t n;
};

void objects_free(struct wrk *w)
{
	struct objects *o = steal(w->gate.objects);

	if (!o)
		return;
	free(o->v);
	free(o);
}

int objects_find(struct wrk *w, struct err *e)
{
	if (!here_is(w))
		return 0;
	w->gate.objects = calloc(1, sizeof(*w->gate.objects));
	if (!w->gate.objects)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for shared memory");
	return img_objects(w->images_fd, &w->gate.objects->v, &w->gate.objects->n, e);
}

int objects_take(struct wrk *w, uint64_t obj, struct sobj *o, struct err *e)
{
	struct img_object *x = NULL;

	for (size_t i = 0; obj_is_shmem(obj) && w->gate.objects && i < w->gate.objects->n; i++)
		if (w->gate.objects->v[i].shmid == obj_id(obj)) {
			x = &w->gate.objects->v[i];
			break;
		}
	if (!x || x->fd >= 0)
		return 0;
	if (x->bytes > BYTES_MAX)
		return err_set(e, ERR_PEER, EFBIG, "shared memory of %llu bytes",
		               (unsigned long long)x->bytes);
	/* an old copy of a page that is gone must not be seen again */
	store_sweep_object(o);
	if (ftruncate(store_fd(o), (off_t)x->bytes) < 0)
		return err_sys(e, "size of shared memory");
	if (fchown(store_fd(o), x->uid, x->gid) < 0 || fchmod(store_fd(o), (mode_t)x->mode) < 0)
		return err_sys(e, "owner of a memory file");
	x->fd = store_fd(o);
	return 1;
}

int objects_place(struct wrk *w, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; w->gate.objects && i < w->gate.objects->n; i++)
		n += w->gate.objects->v[i].fd >= 0;
	if (n)
		log_info("objects of shared memory that CRIU takes as they are: %zu", n);
	return n ? img_place_objects(w->images_fd, w->gate.objects->v, w->gate.objects->n, getpid(),
	                             e)
	         : 0;
}

int objects_seal(struct wrk *w, struct err *e)
{
	for (size_t i = 0; w->gate.objects && i < w->gate.objects->n; i++) {
		const struct img_object *x = &w->gate.objects->v[i];

		if (x->fd >= 0 && x->seals && fcntl(x->fd, F_ADD_SEALS, (int)x->seals) < 0)
			return err_sys(e, "seals of a memory file");
	}
	return 0;
}
