import { z } from 'zod';
import type { ReportContent, Severity } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, fileOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { peek } from './peek.ts';
import { type ReportReader, type ReportSource, UnreadableReport, mostStreamedBytes } from './port.ts';
import { lines } from './text.ts';

const Message = z.looseObject({
  type: z.string(),
  symbol: z.string().optional(),
  message: z.string(),
  messageId: z.string().optional(),
  'message-id': z.string().optional(),
  path: z.string(),
  line: z.number(),
});
type Message = z.output<typeof Message>;

/** pylint's text, and its JSON in both forms, told apart by how they begin. Only text and `json2` have the score. */
export const pylint: ReportReader = {
  kind: 'pylint',
  made: 'pylint --output-format=json2',
  maxBytes: mostStreamedBytes,
  async read(given) {
    const { first, source } = await peek(given);
    if (first === '{') return await readJson2(source);
    if (first === '[') return await readMessages(source);
    return await readText(source);
  },
};

async function readJson2(source: ReportSource): Promise<ReportContent> {
  const findings = createFindings('pylint');
  let score: number | undefined;
  let modules = 0;
  await readJson(source, {
    maxBytes: mostStreamedBytes,
    needs: { messages: 'array', statistics: 'object' },
    picks: {
      'messages/*': each(Message, (message) => findings.add(toFinding(message, source))),
      'statistics/score': each(z.number().nullable(), (value) => (score = value ?? undefined)),
      'statistics/modulesLinted': each(z.number(), (value) => (modules = value)),
    },
  });
  if (modules === 0) throw new UnreadableReport('says that it looked at no module');
  return content(findings, counted(modules, 'module'), score);
}

async function readMessages(source: ReportSource): Promise<ReportContent> {
  const findings = createFindings('pylint');
  await readJson(source, {
    maxBytes: mostStreamedBytes,
    needs: { '': 'array' },
    picks: { '*': each(Message, (message) => findings.add(toFinding(message, source))) },
  });
  return content(findings, 'what it was given; this form does not say what', undefined);
}

function toFinding(message: Message, source: ReportSource): Parameters<ReturnType<typeof createFindings>['add']>[0] {
  return {
    rule: message.symbol ?? message.messageId ?? message['message-id'] ?? message.type,
    severity: bySeverity[message.type.charAt(0).toUpperCase()] ?? 'unknown',
    message: message.message,
    file: fileOf(message.path, source),
    line: message.line,
  };
}

const form = /^(.+?):(\d+):(\d+): ([CRWEFI])\d{4}: (.*?)(?: \(([a-z0-9-]+)\))?$/;
const rating = /^Your code has been rated at (-?\d+(?:\.\d+)?)\/10/;

async function readText(source: ReportSource): Promise<ReportContent> {
  const findings = createFindings('pylint');
  let modules = 0;
  let known = 0;
  let score: number | undefined;
  for await (const batch of lines(source, mostStreamedBytes)) {
    for (const { text, number, whole } of batch) {
      const place = `line ${number}`;
      const [, mark] = rating.exec(text) ?? [];
      if (mark !== undefined && whole) score = Number(mark);
      if (text.startsWith('************* Module ')) modules += 1;
      const [, file, line, , type, message, symbol] = form.exec(text) ?? [];
      if (file !== undefined && type !== undefined && message !== undefined && whole) {
        known += 1;
        findings.add({
          rule: symbol ?? type,
          severity: bySeverity[type] ?? 'unknown',
          message,
          file: fileOf(file, source),
          line: Number(line),
        });
      } else if (score !== undefined && whole && /\bTraceback\b/.test(text)) {
        throw new UnreadableReport('holds the trace of a crash', { place });
      }
    }
  }
  if (score === undefined) {
    throw new UnreadableReport(
      'has no line `Your code has been rated at …`: it was cut off, or is no report of pylint',
      {
        remedy: 'Keep all that pylint prints, with its score switched on.',
      },
    );
  }
  const looked =
    modules === 0 && known === 0
      ? 'everything it was given, and found nothing'
      : `${counted(modules, 'module')} with findings`;
  return content(findings, looked, score);
}

function content(
  findings: ReturnType<typeof createFindings>,
  lookedAt: string,
  score: number | undefined,
): ReportContent {
  return {
    tool: { name: 'pylint' },
    lookedAt,
    ...findings.done(),
    ...(score === undefined ? {} : { score: { value: score, best: 10 } }),
  };
}

/** By the letter of the message: convention, refactor, warning, error, fatal, information. */
const bySeverity: Readonly<Record<string, Severity>> = {
  C: 'low',
  R: 'low',
  W: 'medium',
  E: 'high',
  F: 'high',
  I: 'info',
};
