/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - between the files of policies/. */
#ifndef HAUL_POLICIES_PRIV_H
#define HAUL_POLICIES_PRIV_H

#include <jansson.h>

#include "policies/trace.h"

/** pol_set_json() - a value of a policy file. Return: 0; -EINVAL wrong type; -ERANGE */
int pol_set_json(struct policy *p, size_t row, const json_t *v, struct err *e);

/** ages_take() - end the sample. Return: 0; -ENOSPC too many; -ENOMEM */
int ages_take(struct ages *a, struct trace_sample *s);
/** ages_widen() - the sample that begins is @n samples long */
void ages_widen(struct ages *a, uint32_t n);
/** ages_wide() - how many samples long the present one is */
uint32_t ages_wide(const struct ages *a);
/** ages_forget() - between two samples: drop the first @n; what they wrote counts as present */
void ages_forget(struct ages *a, uint32_t n);

#endif
