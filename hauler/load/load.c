// SPDX-License-Identifier: GPL-2.0-or-later
/* load.c - a state of an archive, ready to be offered: opened, chosen, judged, its messages unpacked. */
#include "hauler/load/priv.h"

#include <stdlib.h>
#include <string.h>

#include "archive/archive.pb-c.h"
#include "engine/images/img.h"
#include "hauler/mig/mig.h"
#include "hauler/save/save.h"
#include "transport/msg/haul.pb-c.h"

#define MESSAGE_MAX (1ULL << 30)
#define IMAGE_MAX   (16ULL << 30)

static int damaged(const struct load *l, const char *what, struct err *e)
{
	return err_set(e, ERR_USER, EBADMSG, "%s is damaged: %s", l->path, what);
}

/* ---- open ---- */

/* One that cannot be written to is read; then its use cannot be noted. */
static int open_archive(struct load *l, struct err *e)
{
	int r = archive_open(&l->a, l->path, ARCHIVE_WRITE, e);

	l->can_note = r == 0;
	if (r != -EACCES && r != -EROFS && r != -EPERM && r != -ETXTBSY)
		return r;
	err_clear(e);
	r = archive_open(&l->a, l->path, ARCHIVE_READ, e);
	return r < 0 ? r : archive_own(l->a, e);
}

static int choose(struct load *l, unsigned int number, struct err *e)
{
	l->state = archive_state(l->a, number);
	if (l->state)
		return 0;
	err_set(e, ERR_USER, ENOENT, number ? "%s has no state %u" : "%s has no state", l->path,
	        number);
	return err_fix(e, "haul archive show %s lists them", l->path);
}

static int unpack(struct load *l, struct err *e)
{
	AUTO(mem) uint8_t *offer = NULL;
	AUTO(mem) uint8_t *sw = NULL;
	size_t n_offer, n_sw;

	if (archive_get_blob(l->a, l->state->offer, MESSAGE_MAX, &offer, &n_offer, e) < 0 ||
	    archive_get_blob(l->a, l->state->switch_over, MESSAGE_MAX, &sw, &n_sw, e) < 0)
		return err_code(e);
	l->offer = haul__offer__unpack(NULL, n_offer, offer);
	l->switch_over = haul__switch__unpack(NULL, n_sw, sw);
	if (!l->offer || !l->switch_over)
		return damaged(l, "its messages", e);
	return l->offer->root_pid && l->offer->root_pid <= INT32_MAX
	               ? 0
	               : damaged(l, "its process ID", e);
}

static int load_maps(struct load *l, struct err *e)
{
	int r = 0;

	l->obj = calloc(l->state->n_object + 1, sizeof(*l->obj));
	if (!l->obj)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	for (size_t i = 0; r == 0 && i < l->state->n_object; i++) {
		l->obj[i].obj = l->state->object[i]->obj;
		l->n_objs++;
		r = pagemap_load(l->a, l->state->object[i], &l->obj[i].map, e);
	}
	return r;
}

/* Return: NULL: no memory */
static struct load *new_load(const char *path, struct err *e)
{
	struct load *l = calloc(1, sizeof(*l));

	if (!l || !(l->path = strdup(path))) {
		free(l);
		err_set(e, ERR_SYS, ENOMEM, "no memory for an archive");
		return NULL;
	}
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

static int begin(struct mig *m, bool again, struct err *e)
{
	struct load *l = new_load(save_path(m->opt->dest), e);

	if (!l)
		return err_code(e);
	l->config = m->opt->config;
	l->criu = m->opt->criu;
	l->verbose = m->opt->verbose;
	archive_trust(m->opt->hauld.ca);
	m->load = l;
	m->link.dial = load_dial;
	m->link.dial_arg = l;
	m->pages.read = load_read;
	m->pages.has = load_has;
	m->pages.read_arg = l;
	if (open_archive(l, e) < 0 || choose(l, m->opt->archive.state, e) < 0 ||
	    (!again && judge_uses(l, m->opt->archive.copy, e) < 0) || unpack(l, e) < 0)
		return err_code(e);
	return load_maps(l, e);
}

int load_view(struct load **out, const char *path, unsigned int state, struct err *e)
{
	struct load *l = new_load(path, e);

	*out = l;
	if (!l)
		return err_code(e);
	if (archive_open(&l->a, path, ARCHIVE_READ, e) < 0 || choose(l, state, e) < 0 ||
	    unpack(l, e) < 0)
		return err_code(e);
	return load_maps(l, e);
}

int load_begin(struct mig *m, struct err *e)
{
	return begin(m, false, e);
}

int load_attach(struct mig *m, struct err *e)
{
	int r = begin(m, true, e);

	if (r < 0)
		return r;
	load_commit(m->load);
	return 0;
}

void load_free(struct load *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_objs; i++)
		pagemap_fini(&l->obj[i].map);
	free(l->obj);
	free(l->seen);
	for (size_t i = 0; i < LOAD_CACHE; i++)
		free(l->cache[i].raw);
	if (l->offer)
		haul__offer__free_unpacked(l->offer, NULL);
	if (l->switch_over)
		haul__switch__free_unpacked(l->switch_over, NULL);
	archive_free(l->a);
	pthread_mutex_destroy(&l->lock);
	free(l->path);
	free(l);
}

/* ---- what is in it ---- */

pid_t load_pid(const struct load *l)
{
	return (pid_t)l->offer->root_pid;
}

unsigned int load_number(const struct load *l)
{
	return l->state ? l->state->number : 0;
}

Haul__Offer *load_offer(struct load *l)
{
	return l->offer;
}

Haul__Switch *load_switch(struct load *l)
{
	return l->switch_over;
}

int load_images(struct load *l, int dir, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->state->n_image; i++) {
		const Archive__Image *img = l->state->image[i];
		AUTO(mem) uint8_t *data = NULL;
		size_t bytes = 0;

		if (!img_name_ok(img->name))
			return damaged(l, "the name of an image", e);
		if (archive_get_blob(l->a, img->data, IMAGE_MAX, &data, &bytes, e) < 0 ||
		    img_save(dir, img->name, data, bytes, e) < 0)
			return err_code(e);
	}
	return 0;
}
