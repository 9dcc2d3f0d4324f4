/** Rules of `slipway.yaml`: each looks at a document that may be wrong in other places. `rules.ts` has the list. */
import { imagePlaces } from './image-rules.ts';
import { group, groupAt, number, text, texts } from './lenient.ts';
import { complaintOf, Parameter } from './parameters.ts';
import { stepsOf } from './places.ts';
import type { Finding } from './problems.ts';
import { suggestion } from './suggest.ts';

export function stepsHaveOneCommand(document: unknown): readonly Finding[] {
  return stepsOf(document).flatMap(({ path, step }): readonly Finding[] => {
    const given = ['run', 'shell'].filter((name) => step[name] !== undefined);
    if (given.length === 1) return [];
    return given.length === 0
      ? [
          {
            path,
            message: 'has no command',
            hint: 'Add `run: [command, argument]`, or `shell:` with a line of shell.',
            lacks: [
              [...path, 'run'],
              [...path, 'shell'],
            ],
          },
        ]
      : [{ path: [...path, 'shell'], message: 'stands beside `run`', hint: 'Keep one of the two.', atKey: true }];
  });
}

export function stepsEndWithTheirStage(document: unknown): readonly Finding[] {
  return stepsOf(document).flatMap(({ path, step, stage }) => {
    const limit = number(stage['timeout']);
    const own = number(step['timeout']);
    if (limit === undefined || own === undefined || own <= limit) return [];
    return [
      {
        path: [...path, 'timeout'],
        message: 'is longer than that of its stage, which would end first',
        hint: 'Make it shorter, or give the stage more time.',
      },
    ];
  });
}

export function serviceHasAnImage(document: unknown): readonly Finding[] {
  const wanted = text(groupAt(document, 'service')['image']);
  const known = imagePlaces(document).flatMap(({ names }) => names);
  if (wanted === undefined || known.includes(wanted)) return [];
  return [
    {
      path: ['service', 'image'],
      message: `is \`${wanted}\`, which is none of the images`,
      hint: known.length === 0 ? 'Add it under `images`.' : suggestion(wanted, known),
    },
  ];
}

export function variablesAreGivenOnce(document: unknown): readonly Finding[] {
  return stepsOf(document).flatMap(({ path, step }) => {
    const settings = group(step['env']);
    return texts(step['secrets']).flatMap(([index, name]) =>
      Object.hasOwn(settings, name)
        ? [
            {
              path: [...path, 'secrets', index],
              message: `\`${name}\` is a setting of this step too`,
              hint: 'Remove it from `env`; the secret would be hidden by it.',
            },
          ]
        : [],
    );
  });
}

export function defaultsFit(document: unknown): readonly Finding[] {
  return Object.entries(groupAt(document, 'parameters')).flatMap(([name, written]) => {
    const { success, data } = Parameter.safeParse(written);
    if (!success || data.default === undefined) return [];
    const complaint = complaintOf(data, String(data.default));
    if (complaint === undefined) return [];
    return [
      {
        path: ['parameters', name, 'default'],
        message: `does not fit its own parameter: it ${complaint}`,
        hint: 'Correct one of the two.',
      },
    ];
  });
}
