# The benchmark, which no test but its own needs.

EXTRA_PROGRAMS = \
	tests/bench/bound \
	tests/bench/feed \
	tests/bench/load
tests_bench_bound_SOURCES = \
	tests/bench/bound.c \
	tests/bench/data.h \
	tests/bench/net.c \
	tests/bench/net.h \
	tests/bench/options.c \
	tests/bench/options.h \
	tests/bench/peer.c \
	tests/bench/peer.h
tests_bench_bound_LDADD =
tests_bench_feed_SOURCES = \
	tests/bench/data.h \
	tests/bench/feed.c \
	tests/bench/net.c \
	tests/bench/net.h \
	tests/bench/options.c \
	tests/bench/options.h \
	tests/bench/peer.c \
	tests/bench/peer.h
tests_bench_feed_LDADD =
tests_bench_load_SOURCES = \
	tests/bench/histogram.c \
	tests/bench/histogram.h \
	tests/bench/load.c \
	tests/bench/load_options.c \
	tests/bench/load_options.h \
	tests/bench/net.c \
	tests/bench/net.h \
	tests/bench/options.c \
	tests/bench/options.h \
	tests/bench/sse_check.c \
	tests/bench/sse_check.h \
	tests/bench/usage.c \
	tests/bench/usage.h
tests_bench_load_LDADD = -lm
CLEANFILES += $(EXTRA_PROGRAMS)

# What measures and what is measured against; a benchmark alone needs them.
bench-programs: $(EXTRA_PROGRAMS)
.PHONY: bench-programs

BENCH_AGENTS = \
	tests/bench/agents/cost.so \
	tests/bench/agents/cost_fiber.so \
	tests/bench/agents/prose.so \
	tests/bench/agents/relay.so \
	tests/bench/agents/tick.so \
	tests/bench/agents/tick_next.so
# For the test of the benchmark.
check_DATA += \
	$(EXTRA_PROGRAMS) \
	$(BENCH_AGENTS)
CLEANFILES += \
	$(BENCH_AGENTS) \
	tests/bench/agents/*.d \
	tests/bench/agents/tick_next.c

tests/bench/agents/%.so: tests/bench/agents/%.c
	$(AM_V_CC)$(TEST_PLUGIN_COMPILE) $< -o $@ $(TEST_PLUGIN_LIBS)
tests/bench/agents/%_fiber.so: tests/bench/agents/%.c
	$(AM_V_CC)$(TEST_PLUGIN_COMPILE) -DPLUGIN_MODE=AGENT_FIBER $< -o $@ $(TEST_PLUGIN_LIBS)
-include $(wildcard tests/bench/agents/*.d)

# The next version of tick, for the swaps.
tests/bench/agents/tick_next.c: tests/bench/agents/tick.c
	$(AM_V_GEN)$(MKDIR_P) tests/bench/agents && sed 's/"1\.0"/"2.0"/' $< >$@

# Writes docs/benchmarks.md and its charts; BENCH_FLAGS are options of bench.py.
bench: all $(BENCH_AGENTS) bench-programs
	@$(TREE_ENVIRONMENT) $(PYTHON) $(srcdir)/tests/bench/bench.py --build $(builddir) \
		$(BENCH_FLAGS)
.PHONY: bench

EXTRA_DIST += \
	tests/bench/agents/cost.c \
	tests/bench/agents/prose.c \
	tests/bench/agents/relay.c \
	tests/bench/agents/tick.c \
	tests/bench/bench.py \
	tests/bench/cells.py \
	tests/bench/chart.py \
	tests/bench/contestants.py \
	tests/bench/peers/kore.c \
	tests/bench/peers/kore.conf.in \
	tests/bench/peers/server.go \
	tests/bench/peers/server.mjs \
	tests/bench/peers/server.py \
	tests/bench/protocols.py \
	tests/bench/report.py \
	tests/bench/results.py \
	tests/bench/targets.py
