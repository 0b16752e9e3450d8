# The figures of `onboardd report --json` that a query can give: jq -n -f report.jq FILE
def weight: (.repeated // 0) + 1;
def weights: map(weight) | add // 0;
def newest(value): map(select(value != null)) | max_by(.timestamp) | value;
def quantile(share): .[(length * share | ceil) - 1];
[inputs | del(.message, .level, .class, .retryInMs)] as $all
| ($all | map(select(.event == "step.failed"))) as $failed
| {
    lines: { lines: ($all | length), different: ($all | unique | length) },
    events: ($all | group_by(.event) | map({ event: .[0].event, n: length })),
    durations: ($all | map(select(.event == "state.changed")) | group_by(.from) | map(.[0].from as $state
      | (map(.durationMs) | sort) | { state: $state, count: length, p50: quantile(0.5), p95: quantile(0.95), max: .[-1] })),
    errors: ($failed | group_by(.code) | map({ code: .[0].code, count: weights,
      devices: (map(.deviceId) | unique | length), example: newest(.cause) })),
    devices: ($all | group_by(.deviceId) | map({ id: .[0].deviceId, state: (max_by(.timestamp) | .to // .state),
      failures: (map(select(.event == "step.failed")) | weights), alias: newest(.alias), version: newest(.version) })),
    timeline: ($all | map(select(.event == "step.failed" or .event == "device.registered"))
      | group_by([.code, .version, .timestamp[0:16]]) | map({ count: weights }) | length)
  }
