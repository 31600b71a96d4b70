// SPDX-License-Identifier: GPL-2.0-or-later
/* names.c - is a word of a request fit to be an argument of a command? */
#include "agent/api/names.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

bool names_host_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n == 0 || n > 253 || s[0] == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(".-_:%", *s))
			return false;
	return true;
}

bool names_policy_ok(const char *s)
{
	if (!*s || strlen(s) > 63)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_')
			return false;
	return true;
}
