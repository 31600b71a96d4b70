// SPDX-License-Identifier: GPL-2.0-or-later
/* images.c - CRIU's images of the source, as they arrive. */
#include "agent/worker/images.h"

#include "agent/mig/mig.h"
#include "engine/images/img.h"
#include "transport/msg/haul.pb-c.h"

#define IMAGE_COST_BYTES 256u /* counted for each image besides its bytes */
#define IMAGE_BYTES_MAX  (256u << 20) /* memory; images of 10,000 processes take some 100 MiB */

int images_take(struct wrk *w, const Haul__Images *m, struct err *e)
{
	for (size_t i = 0; i < m->n_image; i++) {
		const Haul__Image *img = m->image[i];

		if (!img_name_ok(img->name))
			return err_set(e, ERR_PEER, EBADMSG, "image with a bad name");
		w->fig.image_bytes += img->data.len + IMAGE_COST_BYTES;
		/* images hold deleted files, which the offer counts as memory */
		if (w->fig.image_bytes > IMAGE_BYTES_MAX + w->offer.rss_bytes ||
		    img->at > w->fig.image_bytes)
			return err_set(e, ERR_PEER, EFBIG, "images of more than %llu MiB",
			               (unsigned long long)(IMAGE_BYTES_MAX + w->offer.rss_bytes) >>
			                       20);
		int r = img_save_at(w->images_fd, img->name, img->at, img->data.data, img->data.len,
		                    e);

		if (r < 0)
			return r;
	}
	return 0;
}
