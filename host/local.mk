# The host: one list a room; docs/internals.md says what a room may include.

base_sources = \
	host/base/buf.c \
	host/base/buf.h \
	host/base/capacity.c \
	host/base/capacity.h \
	host/base/card.c \
	host/base/card.h \
	host/base/digest.c \
	host/base/digest.h \
	host/base/elf.c \
	host/base/elf.h \
	host/base/guard.c \
	host/base/guard.h \
	host/base/farm.c \
	host/base/farm.h \
	host/base/handles.c \
	host/base/handles.h \
	host/base/iov.h \
	host/base/jot.c \
	host/base/jot.h \
	host/base/json_writer.c \
	host/base/json_writer.h \
	host/base/json.c \
	host/base/json.h \
	host/base/json_fault.c \
	host/base/json_fault.h \
	host/base/json_member.c \
	host/base/json_scan.h \
	host/base/json_schema.c \
	host/base/json_schema.h \
	host/base/json_tree.c \
	host/base/json_tree.h \
	host/base/log.c \
	host/base/log.h \
	host/base/log_fact.c \
	host/base/log_fact.h \
	host/base/log_sink.c \
	host/base/log_sink.h \
	host/base/mem.c \
	host/base/mem.h \
	host/base/modes.c \
	host/base/modes.h \
	host/base/networks.c \
	host/base/networks.h \
	host/base/patience.c \
	host/base/patience.h \
	host/base/pool.c \
	host/base/pool.h \
	host/base/sibling.c \
	host/base/sibling.h \
	host/base/time.h \
	host/base/user.c \
	host/base/user.h \
	host/base/why.c \
	host/base/why.h

wire_sources = \
	host/wire/frames.c \
	host/wire/frames.h \
	host/wire/link.c \
	host/wire/link.h \
	host/wire/worker_fds.h

run_sources = \
	host/run/event.c \
	host/run/event.h \
	host/run/eventlog.c \
	host/run/eventlog.h \
	host/run/inside.h \
	host/run/pack.c \
	host/run/pack.h \
	host/run/questions.c \
	host/run/questions.h \
	host/run/quota.c \
	host/run/quota.h \
	host/run/readers.c \
	host/run/readers.h \
	host/run/record.c \
	host/run/record.h \
	host/run/request.h \
	host/run/ring.c \
	host/run/ring.h \
	host/run/run.c \
	host/run/run.h \
	host/run/runs.c \
	host/run/runs.h

protocol_sources = \
	host/protocol/a2a.c \
	host/protocol/a2a.h \
	host/protocol/a2a_request.c \
	host/protocol/a2a_request.h \
	host/protocol/agui.c \
	host/protocol/agui.h \
	host/protocol/agui_request.c \
	host/protocol/agui_request.h \
	host/protocol/aisdk.c \
	host/protocol/aisdk.h \
	host/protocol/aisdk_request.c \
	host/protocol/aisdk_request.h \
	host/protocol/body.c \
	host/protocol/body.h \
	host/protocol/chat.c \
	host/protocol/chat.h \
	host/protocol/chat_parts.c \
	host/protocol/chat_parts.h \
	host/protocol/document.c \
	host/protocol/document.h \
	host/protocol/encoder.h \
	host/protocol/encoders.c \
	host/protocol/encoders.h \
	host/protocol/feed.c \
	host/protocol/feed.h \
	host/protocol/mcp.c \
	host/protocol/mcp.h \
	host/protocol/mcp_request.c \
	host/protocol/mcp_request.h \
	host/protocol/native.c \
	host/protocol/native.h \
	host/protocol/openai.c \
	host/protocol/openai.h \
	host/protocol/openai_request.c \
	host/protocol/openai_request.h \
	host/protocol/pieces.c \
	host/protocol/pieces.h \
	host/protocol/responses.c \
	host/protocol/responses.h \
	host/protocol/responses_item.c \
	host/protocol/responses_item.h \
	host/protocol/responses_request.c \
	host/protocol/responses_request.h

config_sources = \
	host/config/config.c \
	host/config/config.h \
	host/config/ini.c \
	host/config/ini.h \
	host/config/setting.c \
	host/config/setting.h \
	host/config/spelling.c \
	host/config/spelling.h

http_sources = \
	host/http/answer.c \
	host/http/answer.h \
	host/http/arrivals.c \
	host/http/arrivals.h \
	host/http/conn.c \
	host/http/conn.h \
	host/http/deadlines.c \
	host/http/deadlines.h \
	host/http/forwarded.c \
	host/http/forwarded.h \
	host/http/framing.c \
	host/http/framing.h \
	host/http/http.c \
	host/http/http.h \
	host/http/inside.h \
	host/http/lingers.c \
	host/http/lingers.h \
	host/http/listeners.c \
	host/http/listeners.h \
	host/http/problem.c \
	host/http/problem.h \
	host/http/proxy_header.c \
	host/http/proxy_header.h \
	host/http/request.c \
	host/http/request.h \
	host/http/target.c \
	host/http/target.h \
	host/http/tls.c \
	host/http/tls.h

fleet_sources = \
	host/fleet/confinement.c \
	host/fleet/confinement.h \
	host/fleet/deployment.c \
	host/fleet/deployment.h \
	host/fleet/generation.c \
	host/fleet/generation.h \
	host/fleet/history.c \
	host/fleet/history.h \
	host/fleet/image.c \
	host/fleet/image.h \
	host/fleet/look.c \
	host/fleet/look.h \
	host/fleet/orphans.c \
	host/fleet/orphans.h \
	host/fleet/output.c \
	host/fleet/output.h \
	host/fleet/process.c \
	host/fleet/process.h \
	host/fleet/process_frames.c \
	host/fleet/process_inside.h \
	host/fleet/process_runs.c \
	host/fleet/process_runs.h \
	host/fleet/pulse.c \
	host/fleet/pulse.h \
	host/fleet/queue.c \
	host/fleet/queue.h \
	host/fleet/registry.c \
	host/fleet/registry.h \
	host/fleet/reply.c \
	host/fleet/reply.h \
	host/fleet/spawn.c \
	host/fleet/spawn.h \
	host/fleet/states.h \
	host/fleet/swap.c \
	host/fleet/swap.h \
	host/fleet/watch.c \
	host/fleet/watch.h

api_sources = \
	host/api/a2a.c \
	host/api/a2a.h \
	host/api/a2a_problem.c \
	host/api/a2a_problem.h \
	host/api/access.c \
	host/api/access.h \
	host/api/admission.c \
	host/api/admission.h \
	host/api/agui.c \
	host/api/agui.h \
	host/api/aisdk.c \
	host/api/aisdk.h \
	host/api/api.h \
	host/api/card.c \
	host/api/card.h \
	host/api/collect.c \
	host/api/collect.h \
	host/api/openai.c \
	host/api/openai.h \
	host/api/pace.c \
	host/api/pace.h \
	host/api/responses.c \
	host/api/responses.h \
	host/api/question.c \
	host/api/question.h \
	host/api/lookup.c \
	host/api/lookup.h \
	host/api/mcp.c \
	host/api/mcp.h \
	host/api/mcp_exchange.c \
	host/api/mcp_exchange.h \
	host/api/mcp_session.c \
	host/api/mcp_session.h \
	host/api/mcp_tools.c \
	host/api/mcp_tools.h \
	host/api/request.c \
	host/api/request.h \
	host/api/routes.c \
	host/api/routes.h \
	host/api/runs.c \
	host/api/runs.h \
	host/api/start.c \
	host/api/start.h \
	host/api/stream.c \
	host/api/stream.h \
	host/api/tokens.c \
	host/api/tokens.h

ops_sources = \
	host/ops/admin.c \
	host/ops/admin.h \
	host/ops/report.c \
	host/ops/report.h

worker_sources = \
	host/worker/asks.c \
	host/worker/asks.h \
	host/worker/crash.c \
	host/worker/crash.h \
	host/worker/curl.c \
	host/worker/curl.h \
	host/worker/emit.c \
	host/worker/emit.h \
	host/worker/exchange.c \
	host/worker/exchange.h \
	host/worker/execution.c \
	host/worker/execution.h \
	host/worker/host_table.c \
	host/worker/host_table.h \
	host/worker/http_request.c \
	host/worker/http_request.h \
	host/worker/httpclient.c \
	host/worker/httpclient.h \
	host/worker/inputs.c \
	host/worker/inputs.h \
	host/worker/instance.c \
	host/worker/instance.h \
	host/worker/job.c \
	host/worker/job.h \
	host/worker/loading.c \
	host/worker/loading.h \
	host/worker/main.c \
	host/worker/main.h \
	host/worker/names.c \
	host/worker/names.h \
	host/worker/outbox.c \
	host/worker/outbox.h \
	host/worker/plugin.c \
	host/worker/plugin.h \
	host/worker/refused.c \
	host/worker/refused.h \
	host/worker/sandbox.c \
	host/worker/sandbox.h \
	host/worker/sched.c \
	host/worker/sched.h \
	host/worker/sched_loop.c \
	host/worker/sched_loop.h \
	host/worker/signals.c \
	host/worker/signals.h \
	host/worker/subtask.c \
	host/worker/subtask.h \
	host/worker/task.c \
	host/worker/task.h \
	host/worker/threads.c \
	host/worker/threads.h \
	host/worker/trace.c \
	host/worker/trace.h \
	host/worker/vars.c \
	host/worker/vars.h \
	host/worker/watchdog.c \
	host/worker/watchdog.h \
	host/worker/worker.c \
	host/worker/worker.h

worker_fibers_sources = \
	host/worker/fibers/fiber.c \
	host/worker/fibers/fiber.h \
	host/worker/fibers/sanitizer.c \
	host/worker/fibers/sanitizer.h \
	host/worker/fibers/switch.c \
	host/worker/fibers/switch.h \
	host/worker/fibers/switch_asm.S \
	host/worker/fibers/wheel.c \
	host/worker/fibers/wheel.h

noinst_LTLIBRARIES += \
	libcommon.la \
	libfront.la \
	libworker.la

libcommon_la_SOURCES = \
	$(base_sources) \
	$(wire_sources)

libfront_la_SOURCES = \
	$(run_sources) \
	$(protocol_sources) \
	$(config_sources) \
	$(http_sources) \
	$(fleet_sources) \
	$(api_sources) \
	$(ops_sources) \
	host/front.c \
	host/front.h \
	host/reload.c \
	host/reload.h

libworker_la_SOURCES = \
	$(worker_sources) \
	$(worker_fibers_sources)
# SCHED_CHECKS asserts that the worker's lock is held where a comment says "Locked".
if SANITIZED
SCHED_CPPFLAGS = -DSCHED_CHECKS
endif
libworker_la_CPPFLAGS = $(AM_CPPFLAGS) $(SCHED_CPPFLAGS)

HOST_LIBS = \
	libfront.la \
	libworker.la \
	libcommon.la \
	$(MICROHTTPD_LIBS) \
	$(GNUTLS_LIBS) \
	$(UV_LIBS) \
	$(CJSON_LIBS) \
	$(INIH_LIBS) \
	$(LTDL_LIBS)

# What holds plugins is linked with as little as can be; host/main.c says why.
bin_PROGRAMS += sluice
sluice_LDADD = \
	libfront.la \
	libworker.la \
	libcommon.la \
	$(WORKER_UV_LIBS) \
	$(WORKER_INIH_LIBS) \
	$(WORKER_LTDL_LIBS)
sluice_LDFLAGS = $(AM_LDFLAGS) $(HARDEN_PROGRAM_LDFLAGS)
sluice_SOURCES = \
	host/main.c \
	host/cli/cli.h \
	host/cli/lines.c \
	host/cli/lines.h \
	host/cli/run.c \
	host/cli/settings.c \
	host/cli/settings.h \
	host/cli/terminal.c \
	host/cli/terminal.h

pkglibexec_PROGRAMS += sluice-front
sluice_front_LDADD = $(HOST_LIBS)
sluice_front_LDFLAGS = $(AM_LDFLAGS) $(HARDEN_PROGRAM_LDFLAGS)
sluice_front_SOURCES = \
	host/front_main.c \
	host/cli/admin.c \
	host/cli/check.c \
	host/cli/check.h \
	host/cli/cli.h \
	host/cli/serve.c \
	host/cli/settings.c \
	host/cli/settings.h \
	host/cli/token.c

# The library with which authors test their agents.

harness_sources = \
	host/harness/list.c \
	host/harness/list.h \
	host/harness/record.c \
	host/harness/record.h \
	host/harness/script.c \
	host/harness/script.h \
	host/harness/test.c \
	host/harness/virtual_clock.c \
	host/harness/virtual_clock.h

lib_LTLIBRARIES += libsluice-test.la
libsluice_test_la_SOURCES = \
	$(harness_sources) \
	host/base/buf.c \
	host/base/card.c \
	host/base/json.c \
	host/base/json_fault.c \
	host/base/json_member.c \
	host/base/json_schema.c \
	host/base/json_tree.c \
	host/base/log.c \
	host/base/log_fact.c \
	host/base/log_sink.c \
	host/base/mem.c \
	host/base/why.c \
	host/wire/frames.c \
	host/worker/asks.c \
	host/worker/curl.c \
	host/worker/emit.c \
	host/worker/exchange.c \
	host/worker/execution.c \
	host/worker/host_table.c \
	host/worker/http_request.c \
	host/worker/inputs.c \
	host/worker/instance.c \
	host/worker/job.c \
	host/worker/outbox.c \
	host/worker/refused.c \
	host/worker/sched.c \
	host/worker/subtask.c \
	host/worker/task.c \
	host/worker/vars.c
libsluice_test_la_CPPFLAGS = $(AM_CPPFLAGS) -DSCHED_CHECKS
libsluice_test_la_LDFLAGS = \
	$(AM_LDFLAGS) \
	-no-undefined \
	-export-symbols-regex '^agent_test_'
libsluice_test_la_LIBADD = \
	-lpthread \
	-ldl
