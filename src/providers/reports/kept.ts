import { z } from 'zod';

/** What of a value is read: all of it, or what of its members and elements. */
export type Kept =
  | 'all'
  | {
      readonly members?: ReadonlyMap<string, Kept>;
      /** Of members that are not named. Absent: they are passed over, where any are named. */
      readonly others?: Kept;
      readonly elements?: Kept;
    };

/** Everything that a schema names. What it cannot be asked about is kept as it is. */
export function keptBy(schema: z.ZodType): Kept {
  return known(schema, 0);
}

/** Schemas of reports are a few levels deep; one that held itself would have no end. */
const deepest = 20;

function known(schema: unknown, depth: number): Kept {
  if (depth > deepest) return 'all';
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return known(schema.unwrap(), depth);
  if (schema instanceof z.ZodObject) {
    const shape = schema.shape as Readonly<Record<string, unknown>>;
    return { members: new Map(Object.entries(shape).map(([name, of]) => [name, known(of, depth + 1)])) };
  }
  if (schema instanceof z.ZodArray) return { elements: known(schema.element, depth + 1) };
  if (schema instanceof z.ZodRecord) return { others: known(schema.valueType, depth + 1) };
  return 'all';
}
