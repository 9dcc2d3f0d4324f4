// Prints many lines of 100 bytes as fast as it can; every tenth has the secret, where there is one.
import { writeSync } from 'node:fs';

const total = Number(process.argv[2] ?? 1_000_000);
const secret = process.env.BENCH_SECRET ?? 'not-a-secret-here';
const batch = 1_000;
const lines = Array.from({ length: batch }, (_, index) => {
  const head = index % 10 === 0 ? `token=${secret} ` : '';
  return `${head}${'abcdefghij'.repeat(10)}`.slice(0, 99);
});
const chunk = Buffer.from(`${lines.join('\n')}\n`);
for (let printed = 0; printed < total; printed += batch) {
  for (let at = 0; at < chunk.length;) {
    try {
      at += writeSync(1, chunk, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}
