import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';

const silentMs = 20_000;

/**
 * One line for a file, whole messages for what failed, a sign of life every 20 s. Writes plain lines: there may be no
 * terminal. The figures go to the file named by SLIPWAY_TEST_RESULTS.
 */
export default class SlipwayReporter {
  #running = new Map();
  #ticker;

  onRunStart() {
    this.#ticker = setInterval(() => {
      for (const [path, began] of this.#running) {
        if (Date.now() - began >= silentMs) this.#say(`  ...  ${name(path)}  ${seconds(Date.now() - began)} so far`);
      }
    }, silentMs);
    this.#ticker.unref();
  }

  onTestFileStart(test) {
    this.#running.set(test.path, Date.now());
  }

  onTestFileResult(test, result) {
    const began = this.#running.get(test.path) ?? Date.now();
    this.#running.delete(test.path);
    const failed = result.numFailingTests > 0 || result.testExecError != null;
    const count = result.numPassingTests + result.numFailingTests + result.numPendingTests + result.numTodoTests;
    this.#say(
      `  ${failed ? 'FAIL' : 'ok  '} ${name(test.path)}  ${count} ${count === 1 ? 'test' : 'tests'}  ${seconds(Date.now() - began)}`,
    );
    if (!failed) return;
    for (const line of result.console ?? []) this.#say(`       ${line.type}: ${line.message.trimEnd()}`);
    if (result.failureMessage) this.#say(result.failureMessage.trimEnd());
  }

  onRunComplete(_contexts, results) {
    clearInterval(this.#ticker);
    const brokenFiles = results.testResults.filter((file) => file.testExecError != null && file.numFailingTests === 0);
    const figures = {
      passed: results.numPassedTests,
      failed: results.numFailedTests + brokenFiles.length,
      skipped: results.numPendingTests + results.numTodoTests,
      failures: [
        ...results.testResults.flatMap((file) =>
          file.testResults
            .filter((test) => test.status === 'failed')
            .map((test) => `${name(file.testFilePath)}: ${test.fullName}`),
        ),
        ...brokenFiles.map((file) => `${name(file.testFilePath)}: could not be run`),
      ],
      skips: results.testResults.flatMap((file) =>
        file.testResults
          .filter((test) => ['pending', 'todo', 'skipped', 'disabled'].includes(test.status))
          .map((test) => `${name(file.testFilePath)}: ${test.fullName}`),
      ),
      interrupted: results.wasInterrupted,
    };
    const file = process.env.SLIPWAY_TEST_RESULTS;
    if (file) writeFileSync(file, JSON.stringify(figures));
  }

  #say(text) {
    process.stdout.write(`${text}\n`);
  }
}

function name(path) {
  return relative(process.cwd(), path);
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
