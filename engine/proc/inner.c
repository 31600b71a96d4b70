// SPDX-License-Identifier: GPL-2.0-or-later
/* inner.c - the two numbers of each task of a tree that has a pid namespace of its own. */
#include "engine/proc/inner.h"

#include <ctype.h>
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/array.h"
#include "common/page.h"
#include "engine/proc/pidspace.h"
#include "engine/proc/proc.h"

static struct {
	pthread_mutex_t lock;
	pid_t root;
	bool apart;
	struct pidspace_pair *v;
	size_t n, cap;
} tree = { .lock = PTHREAD_MUTEX_INITIALIZER };

void inner_tree(pid_t root)
{
	pthread_mutex_lock(&tree.lock);
	tree.root = root;
	tree.apart = !pidspace_is_ours(root);
	tree.n = 0;
	pthread_mutex_unlock(&tree.lock);
}

/* Has it a pid namespace of its own? */
static bool has_own(void)
{
	return __atomic_load_n(&tree.apart, __ATOMIC_RELAXED);
}

static pid_t learn(pid_t outer)
{
	pid_t inner = pidspace_inner(outer);

	if (inner && array_grow(&tree.v, tree.n, &tree.cap, sizeof(*tree.v)) == 0)
		tree.v[tree.n++] = (struct pidspace_pair){ inner, outer };
	return inner;
}

pid_t inner_of(pid_t outer)
{
	pid_t inner = 0;

	if (!has_own())
		return outer;
	pthread_mutex_lock(&tree.lock);
	for (size_t i = tree.n; i-- > 0 && !inner;)
		if (tree.v[i].outer == outer)
			inner = tree.v[i].inner;
	if (!inner)
		inner = learn(outer);
	pthread_mutex_unlock(&tree.lock);
	return inner ? inner : outer;
}

static void learn_threads(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]))
			learn((pid_t)strtol(de->d_name, NULL, 10));
}

static pid_t look_up(pid_t inner)
{
	for (size_t i = tree.n; i-- > 0;)
		if (tree.v[i].inner == inner)
			return tree.v[i].outer;
	return 0;
}

pid_t inner_outer(pid_t inner)
{
	struct err ignore = ERR_INIT;

	if (!has_own())
		return inner;
	pthread_mutex_lock(&tree.lock);
	pid_t outer = look_up(inner);
	AUTO(procs) struct proc_list l = { 0 };

	if (!outer && procs_tree(tree.root, &l, &ignore) == 0) {
		tree.n = 0;
		for (size_t i = 0; i < l.n; i++)
			learn_threads(l.pid[i]);
		outer = look_up(inner);
	}
	pthread_mutex_unlock(&tree.lock);
	return outer;
}

uint64_t inner_obj(pid_t outer)
{
	return obj_of_task((uint64_t)inner_of(outer));
}
