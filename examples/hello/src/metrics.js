const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Request counts and durations in the text format of Prometheus. */
export function createMetrics(labels) {
  const requests = new Map();
  const durations = new Map();
  return {
    observe(route, status, seconds) {
      const key = `route="${route}",status="${status}"`;
      requests.set(key, (requests.get(key) ?? 0) + 1);
      let duration = durations.get(route);
      if (duration === undefined) durations.set(route, (duration = { counts: buckets.map(() => 0), sum: 0, count: 0 }));
      for (const [index, bound] of buckets.entries()) if (seconds <= bound) duration.counts[index] += 1;
      duration.sum += seconds;
      duration.count += 1;
    },
    render() {
      const info = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
      const lines = [
        '# TYPE hello_info gauge',
        `hello_info{${info.join(',')}} 1`,
        '# TYPE http_requests_total counter',
      ];
      for (const [key, count] of requests) lines.push(`http_requests_total{${key}} ${count}`);
      lines.push('# TYPE http_request_duration_seconds histogram');
      for (const [route, { counts, sum, count }] of durations) {
        for (const [index, bound] of buckets.entries()) {
          lines.push(`http_request_duration_seconds_bucket{route="${route}",le="${bound}"} ${counts[index]}`);
        }
        lines.push(`http_request_duration_seconds_bucket{route="${route}",le="+Inf"} ${count}`);
        lines.push(`http_request_duration_seconds_sum{route="${route}"} ${sum.toFixed(6)}`);
        lines.push(`http_request_duration_seconds_count{route="${route}"} ${count}`);
      }
      lines.push(
        '# TYPE process_resident_memory_bytes gauge',
        `process_resident_memory_bytes ${process.memoryUsage().rss}`,
      );
      return `${lines.join('\n')}\n`;
    },
  };
}
