// SPDX-License-Identifier: GPL-2.0-or-later
/* lists.c - do the lists of a policy file have the form that haul takes? */
#include "hauler/options/lists.h"

#include <string.h>

#include "common/printable.h"
#include "engine/net/net.h"
#include "hauler/options/out_rules.h"

int lists_err(const struct policy *p, size_t list, size_t k, struct err *e)
{
	err_wrap(e, "%s:%u: %s", p->path, p->list[list].line[k], pol_lists[list].name);
	printable(e->msg);
	return -e->code;
}

static int check_item(size_t list, const char *text, struct err *e)
{
	struct net_move move;
	struct out_rules rules = { 0 };

	switch ((enum pol_list)list) {
	case POL_MOVE_ADDRESS:
		return net_move_parse(text, &move, e);
	case POL_MAP:
		return out_rule_add(&rules, text, e);
	case POL_FS:
		if (text[0] == '/' && text[strspn(text, "/")])
			return 0;
		return err_set(e, ERR_USER, EINVAL, "\"%s\" is not an absolute path", text);
	default:
		return *text ? 0 : err_set(e, ERR_USER, EINVAL, "an empty pattern");
	}
}

int lists_check(const struct policy *p, struct err *e)
{
	for (size_t i = 0; i < POL_NLISTS; i++)
		for (size_t k = 0; k < p->list[i].n; k++)
			if (check_item(i, p->list[i].v[k], e) < 0)
				return lists_err(p, i, k, e);
	return 0;
}
