# SPDX-License-Identifier: GPL-2.0-or-later
# local.mk - test programs, test scripts, and the targets that run them; tests/README.md says what each is for.

# Tests need nothing of their own to link: an archive gives only what is asked of it.
LDADD = libagent.a libhauler.a libarchive.a libpolicies.a libengine.a libtransport.a libcommon.a $(LIBS_ALL) $(MHD_LIBS) $(CURL_LIBS)

# ---- programs that are moved; never built with sanitizers ----
WORK = \
	tests/work/aio \
	tests/work/churn \
	tests/work/misc \
	tests/work/objects \
	tests/work/poke \
	tests/work/privfile \
	tests/work/shape \
	tests/work/shared \
	tests/work/sparse \
	tests/work/tcpwatch \
	tests/work/threads \
	tests/work/tree \
	tests/work/writer
MOVED_CFLAGS = $(HAUL_CFLAGS)
MOVED_COMMON = \
	tests/work/area.c \
	tests/work/crew.c \
	tests/work/pace.c \
	tests/work/report.c \
	tests/work/work.c \
	tests/work/work.h

tests_work_aio_SOURCES = tests/work/aio.c $(MOVED_COMMON)
tests_work_aio_CFLAGS = $(MOVED_CFLAGS)
tests_work_aio_LDFLAGS = -pthread
tests_work_aio_LDADD =
tests_work_churn_SOURCES = tests/work/churn.c tests/work/pool.c tests/work/pool.h $(MOVED_COMMON)
tests_work_churn_CFLAGS = $(MOVED_CFLAGS)
tests_work_churn_LDFLAGS = -pthread
tests_work_churn_LDADD =
tests_work_misc_SOURCES = tests/work/misc.c tests/work/misc.h tests/work/misc_kernel.c tests/work/misc_memory.c $(MOVED_COMMON)
tests_work_misc_CFLAGS = $(MOVED_CFLAGS)
tests_work_misc_LDFLAGS = -pthread
tests_work_misc_LDADD =
tests_work_objects_SOURCES = tests/work/objects.c $(MOVED_COMMON)
tests_work_objects_CFLAGS = $(MOVED_CFLAGS)
tests_work_objects_LDFLAGS = -pthread
tests_work_objects_LDADD =
tests_work_poke_SOURCES = tests/work/poke.c $(MOVED_COMMON)
tests_work_poke_CFLAGS = $(MOVED_CFLAGS)
tests_work_poke_LDFLAGS = -pthread
tests_work_poke_LDADD =
tests_work_privfile_SOURCES = tests/work/privfile.c $(MOVED_COMMON)
tests_work_privfile_CFLAGS = $(MOVED_CFLAGS)
tests_work_privfile_LDFLAGS = -pthread
tests_work_privfile_LDADD =
tests_work_shape_SOURCES = tests/work/shape.c $(MOVED_COMMON)
tests_work_shape_CFLAGS = $(MOVED_CFLAGS)
tests_work_shape_LDFLAGS = -pthread
tests_work_shape_LDADD =
tests_work_shared_SOURCES = tests/work/shared.c $(MOVED_COMMON)
tests_work_shared_CFLAGS = $(MOVED_CFLAGS)
tests_work_shared_LDFLAGS = -pthread
tests_work_shared_LDADD =
tests_work_sparse_SOURCES = tests/work/sparse.c $(MOVED_COMMON)
tests_work_sparse_CFLAGS = $(MOVED_CFLAGS)
tests_work_sparse_LDFLAGS = -pthread
tests_work_sparse_LDADD =
tests_work_tcpwatch_SOURCES = tests/work/tcpwatch.c
tests_work_tcpwatch_CFLAGS = $(MOVED_CFLAGS)
tests_work_tcpwatch_LDFLAGS = -pthread
tests_work_tcpwatch_LDADD =
tests_work_threads_SOURCES = tests/work/threads.c $(MOVED_COMMON)
tests_work_threads_CFLAGS = $(MOVED_CFLAGS)
tests_work_threads_LDFLAGS = -pthread
tests_work_threads_LDADD =
tests_work_tree_SOURCES = tests/work/tree.c tests/work/tree.h tests/work/tree_parked.c tests/work/tree_ring.c $(MOVED_COMMON)
tests_work_tree_CFLAGS = $(MOVED_CFLAGS)
tests_work_tree_LDFLAGS = -pthread
tests_work_tree_LDADD =
tests_work_writer_SOURCES = tests/work/writer.c $(MOVED_COMMON)
tests_work_writer_CFLAGS = $(MOVED_CFLAGS)
tests_work_writer_LDFLAGS = -pthread
tests_work_writer_LDADD =

# ---- test programs: tests/NAME.c each ----
UNIT = \
	tests/t-check-cpu \
	tests/t-check-offer \
	tests/t-criu-why \
	tests/t-crowd \
	tests/t-elf-buildid \
	tests/t-frame-bounds \
	tests/t-guardian \
	tests/t-inject \
	tests/t-inspect-fds \
	tests/t-inspect-maps \
	tests/t-inspect-outside \
	tests/t-inspect-sockets \
	tests/t-inspect-tree \
	tests/t-journal \
	tests/t-look \
	tests/t-pager-fill \
	tests/t-pager-gate \
	tests/t-pager-kernel \
	tests/t-pager-lag \
	tests/t-pager-moves \
	tests/t-pager-speed \
	tests/t-pager-storm \
	tests/t-policy-decide \
	tests/t-policy-rounds \
	tests/t-policy-sim \
	tests/t-push-order \
	tests/t-record \
	tests/t-rounds-skip \
	tests/t-send \
	tests/t-sink \
	tests/t-store-pages \
	tests/t-trace \
	tests/t-tracker \
	tests/t-tracker-direct \
	tests/t-tracker-life \
	tests/t-tracker-others \
	tests/t-transport-auth \
	tests/t-transport-duplex

# ---- fuzz targets, built here as programs that replay files ----
FUZZ = \
	tests/fuzz-archive \
	tests/fuzz-batch \
	tests/fuzz-conf \
	tests/fuzz-files \
	tests/fuzz-frame \
	tests/fuzz-img \
	tests/fuzz-journal \
	tests/fuzz-keys \
	tests/fuzz-pagemap \
	tests/fuzz-parked \
	tests/fuzz-policy \
	tests/fuzz-rpc \
	tests/fuzz-sink \
	tests/fuzz-wire

# ---- a peer that breaks the protocol; haul and hauld that lie where they are told to ----
tests_hostile_SOURCES = tests/hostile.c tests/hostile-peer.c tests/hostile-peer.h
tests_hostile_fs_SOURCES = tests/hostile-fs.c tests/hostile-peer.c tests/hostile-peer.h
tests_hostile_haul_SOURCES = $(haul_SOURCES) tests/hostile-talk.c
tests_hostile_haul_LDADD = $(haul_LDADD)
tests_hostile_hauld_SOURCES = $(hauld_SOURCES) tests/hostile-talk.c
tests_hostile_hauld_LDADD = $(hauld_LDADD)

check_PROGRAMS = \
	$(FUZZ) \
	$(UNIT) \
	$(WORK) \
	tests/bench/ssh-raw \
	tests/compare \
	tests/handover-edges \
	tests/hostile \
	tests/hostile-fs \
	tests/hostile-haul \
	tests/hostile-hauld \
	tests/kinds \
	tests/option-rows \
	tests/pagesum

# ---- test scripts ----
SHELL_TESTS = \
	tests/t-agent-cli.sh \
	tests/t-aio.sh \
	tests/t-api-kill.sh \
	tests/t-api-trust.sh \
	tests/t-api.sh \
	tests/t-archive.sh \
	tests/t-cgroup.sh \
	tests/t-churn.sh \
	tests/t-circles.sh \
	tests/t-cli-usage.sh \
	tests/t-compare.sh \
	tests/t-containers.sh \
	tests/t-crash.sh \
	tests/t-criu-old.sh \
	tests/t-drain.sh \
	tests/t-english.sh \
	tests/t-fail.sh \
	tests/t-files-root.sh \
	tests/t-files.sh \
	tests/t-fs.sh \
	tests/t-fuzz-replay.sh \
	tests/t-guardian-worker.sh \
	tests/t-handover-model.sh \
	tests/t-handover-tables.sh \
	tests/t-hostile-fs.sh \
	tests/t-hostile.sh \
	tests/t-hostile-lies.sh \
	tests/t-huge.sh \
	tests/t-ipc.sh \
	tests/t-kept-check.sh \
	tests/t-kept-epmd.sh \
	tests/t-kept-epoll.sh \
	tests/t-kept-files.sh \
	tests/t-kept-hints.sh \
	tests/t-kept-inet.sh \
	tests/t-kept-ipc.sh \
	tests/t-kept-locks.sh \
	tests/t-kept-memory.sh \
	tests/t-kept-sockets.sh \
	tests/t-kept-task.sh \
	tests/t-kept-terminals.sh \
	tests/t-kept.sh \
	tests/t-land-crash.sh \
	tests/t-land.sh \
	tests/t-link.sh \
	tests/t-lint.sh \
	tests/t-load-web.sh \
	tests/t-load.sh \
	tests/t-many.sh \
	tests/t-map.sh \
	tests/t-memcached.sh \
	tests/t-misc.sh \
	tests/t-named.sh \
	tests/t-openapi.sh \
	tests/t-options.sh \
	tests/t-owner.sh \
	tests/t-page.sh \
	tests/t-park.sh \
	tests/t-pid.sh \
	tests/t-policy-options.sh \
	tests/t-policy.sh \
	tests/t-privfile.sh \
	tests/t-python.sh \
	tests/t-recover.sh \
	tests/t-redis.sh \
	tests/t-save-crash.sh \
	tests/t-save-files.sh \
	tests/t-save-programs.sh \
	tests/t-save.sh \
	tests/t-shape.sh \
	tests/t-shared-rounds.sh \
	tests/t-shared.sh \
	tests/t-soak.sh \
	tests/t-sockets.sh \
	tests/t-sparse.sh \
	tests/t-style.sh \
	tests/t-supervisor.sh \
	tests/t-tcp-crash.sh \
	tests/t-tcp-close.sh \
	tests/t-tcp-each.sh \
	tests/t-tcp-fates.sh \
	tests/t-tcp-proxy.sh \
	tests/t-tcp-redis.sh \
	tests/t-tcp-streams.sh \
	tests/t-tcp-stuck.sh \
	tests/t-tcp-undo.sh \
	tests/t-ten-times.sh \
	tests/t-threads.sh \
	tests/t-throttle.sh \
	tests/t-tree.sh \
	tests/t-trust-ended.sh \
	tests/t-trust-files.sh \
	tests/t-trust-inherit.sh \
	tests/t-trust-leftovers.sh \
	tests/t-trust-logs.sh \
	tests/t-trust-names.sh \
	tests/t-trust-opened.sh \
	tests/t-trust-owner.sh \
	tests/t-trust-sandbox.sh \
	tests/t-trust-scarce.sh \
	tests/t-trust-signals.sh \
	tests/t-trust-sockets.sh \
	tests/t-trust-source.sh \
	tests/t-trust-strangers.sh \
	tests/t-trust-swapped.sh \
	tests/t-trust-streams.sh \
	tests/t-urgent.sh \
	tests/t-watch.sh \
	tests/t-writer.sh

# Neither root nor CRIU; the first thing a contributor runs.
QUICK = \
	tests/t-check-cpu \
	tests/t-check-offer \
	tests/t-circles.sh \
	tests/t-criu-why \
	tests/t-crowd \
	tests/t-elf-buildid \
	tests/t-english.sh \
	tests/t-frame-bounds \
	tests/t-fuzz-replay.sh \
	tests/t-handover-tables.sh \
	tests/t-journal \
	tests/t-lint.sh \
	tests/t-load-web.sh \
	tests/t-load.sh \
	tests/t-options.sh \
	tests/t-pager-lag \
	tests/t-policy-decide \
	tests/t-pid.sh \
	tests/t-policy-options.sh \
	tests/t-policy-rounds \
	tests/t-policy-sim \
	tests/t-push-order \
	tests/t-record \
	tests/t-rounds-skip \
	tests/t-send \
	tests/t-sink \
	tests/t-style.sh \
	tests/t-supervisor.sh \
	tests/t-trace \
	tests/t-transport-auth \
	tests/t-transport-duplex

# They measure: nothing else may run beside them.
TIMED = \
	tests/t-link.sh \
	tests/t-pager-speed \
	tests/t-policy.sh \
	tests/t-throttle.sh \
	tests/t-urgent.sh \
	tests/t-watch.sh

TESTS = $(UNIT) $(SHELL_TESTS)
TEST_EXTENSIONS = .sh
AM_TESTS_ENVIRONMENT = HAUL_BUILDDIR=$(abs_builddir); export HAUL_BUILDDIR;
LOG_COMPILER = $(top_srcdir)/tests/run
SH_LOG_COMPILER = $(top_srcdir)/tests/run

# ---- targets ----
.PHONY: check-quick check-beside check-timed check-api check-asan check-containers check-crash check-files check-hostile \
	check-archive check-servers check-slow check-soak check-systemd check-tcp check-trust check-tsan check-vm check-programs fuzz

check-programs: $(BUILT_SOURCES) $(sbin_PROGRAMS) $(check_PROGRAMS)
# one test for each processor, unless the caller has given -j
check-quick:
	$(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$$(nproc)) check TESTS="$(QUICK)"
# in two parts, as contrib/test does: what may run side by side, then what measures
check-beside:
	$(MAKE) check TESTS="$(filter-out $(TIMED),$(UNIT) $(SHELL_TESTS))"
check-timed:
	$(MAKE) check TESTS="$(TIMED)"
# seconds for each fuzz target, with clang and libFuzzer
FUZZ_SECONDS = 60
fuzz: all
	HAUL_BUILDDIR=$(abs_builddir) $(top_srcdir)/tests/fuzz.sh --seconds $(FUZZ_SECONDS)
# queues of 50, hostile clients, under load
check-api: check-programs
	$(srcdir)/tests/t-api.sh
	$(srcdir)/tests/t-api-kill.sh
	$(srcdir)/tests/t-api-queue.sh
	$(srcdir)/tests/t-api-limits.sh
	$(srcdir)/tests/t-agent-cli.sh
	$(srcdir)/tests/t-unit.sh
# the tree in a copy, built with sanitizers, and its tests
check-asan:
	$(srcdir)/tests/sanitized.sh asan
check-tsan:
	$(srcdir)/tests/sanitized.sh tsan
# every fault point, with everything that can happen there
check-crash: check-programs
	$(srcdir)/tests/crash-matrix.py
check-containers: check-programs
	$(srcdir)/tests/t-containers.sh
	$(srcdir)/tests/t-containers-check.sh
	$(srcdir)/tests/t-containers-crash.sh
	$(srcdir)/tests/t-containers-files.sh
	$(srcdir)/tests/t-containers-front.sh
	$(srcdir)/tests/t-containers-undo.sh
check-files: check-programs
	$(srcdir)/tests/check-files
# archives cut off at every 4 KiB; ten saves under load, each of them loaded; every workload, servers of Debian
check-archive: check-programs
	FULL=1 $(srcdir)/tests/t-load.sh
	$(srcdir)/tests/t-save-often.sh
	$(srcdir)/tests/t-save-work.sh
	BY=archive $(srcdir)/tests/t-servers.sh java mariadb redis bind9 lighttpd haproxy gunicorn
# every message in the place of every other, from liars with a real process
check-hostile: check-programs
	HOSTILE_ALL=1 $(srcdir)/tests/t-hostile-lies.sh
# servers, interpreters and daemons of Debian, there and back under load
check-servers: check-programs
	$(srcdir)/tests/t-servers.sh
# nearly all of it waits for a link of 1 Mbit/s
check-slow: check-programs
	$(srcdir)/tests/t-slow-link.sh
# 300 migrations there and back, and nothing grows
check-soak: check-programs
	$(srcdir)/tests/soak.py
check-tcp: check-programs
	$(srcdir)/tests/check-tcp
# an unprivileged user, a stranger and a key holder attack both hosts
check-trust: check-programs
	RACE_S=20 RACE_PAUSE_S=0 $(MAKE) check TESTS="tests/t-api-trust.sh $(filter tests/t-trust-%,$(SHELL_TESTS))"
# between virtual machines, under software emulation
check-vm:
	$(top_srcdir)/tests/vm/build >/dev/null
	$(top_srcdir)/tests/vm/check

# services of systemd, on two Debian 13 and two Debian 12
check-systemd:
	$(top_srcdir)/tests/vm/build >/dev/null
	$(top_srcdir)/tests/vm/check-systemd trixie
	$(top_srcdir)/tests/vm/check-systemd bookworm

# "make distcheck" runs what needs neither root nor a CRIU. The variable keeps automake from taking
# this line for a rule of its own target.
DISTCHECK = distcheck
$(DISTCHECK): AM_MAKEFLAGS = TESTS="$(QUICK)"

distclean-local:
	rm -rf tests/.lint

# the whole folder travels in the tarball
EXTRA_DIST += tests
dist-hook:
	cd $(distdir)/tests && rm -rf *.log *.trs .deps .lint page/shots work/__pycache__
	find $(distdir)/tests -name '*.o' -delete
	cd $(distdir) && rm -f $(check_PROGRAMS)
