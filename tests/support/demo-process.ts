import { readFileSync, writeFileSync } from 'node:fs';
import { handOver } from '../../examples/demo/keep.ts';
import { type DemoParts, playDemo } from '../../examples/demo/play.ts';
import { type Stage, setStage } from '../../examples/demo/stage.ts';
import { toStaging } from '../../examples/demo/story.ts';

/**
 * `node tests/support/demo-process.ts FILE ARGUMENTS…`: the process of the demo with the acts that the file names, on a stage of cardboard, or with
 * `real` on the real one. What became of the stage is written beside the file.
 */
export interface Script {
  readonly real?: boolean;
  readonly acts?: readonly ('holds' | 'does not hold' | 'breaks' | 'looks at nothing' | 'never ends')[];
  readonly stage?: 'cannot be set' | 'cannot be struck' | 'cannot be handed over';
}

const [file = '', ...args] = process.argv.slice(2);
const script = JSON.parse(readFileSync(file, 'utf8')) as Script;
const seen: string[] = [];

function note(what: string): void {
  seen.push(what);
  writeFileSync(`${file}.seen`, JSON.stringify(seen));
}

const acts: Record<NonNullable<Script['acts']>[number], DemoParts['acts'][number]> = {
  holds: ({ narrator }) => {
    narrator.check('the sun rises', true);
    return Promise.resolve();
  },
  'does not hold': ({ narrator }) => {
    narrator.check('the moon is made of cheese', false, 'rock');
    return Promise.resolve();
  },
  breaks: () => Promise.reject(new Error('the curtain fell down')),
  'looks at nothing': () => Promise.resolve(),
  'never ends': async ({ narrator }) => {
    narrator.say('waiting for Godot');
    await new Promise((resolve) => setTimeout(resolve, 2 ** 30));
  },
};

const cardboard: DemoParts = {
  acts: (script.acts ?? []).map((name) => async (scene, findings) => {
    note(name);
    await acts[name](scene, findings);
  }),
  setStage: ({ narrator }) => {
    if (script.stage === 'cannot be set') return Promise.reject(new Error('there is no Docker'));
    // The part of a stage that the process itself touches.
    const stage = {
      scene: { narrator },
      system: { url: 'http://127.0.0.1:1', temporalUi: undefined },
      stateFolder: '/somewhere',
      strike: () => {
        note('struck');
        return script.stage === 'cannot be struck'
          ? Promise.reject(new Error('a container is still there'))
          : Promise.resolve();
      },
    };
    return Promise.resolve(stage as unknown as Stage);
  },
  handOver: () => {
    note('handed over');
    if (script.stage === 'cannot be handed over') return Promise.reject(new Error('slipway up ended'));
    return Promise.resolve('Everything goes on running');
  },
};

process.exitCode = await playDemo(args, script.real === true ? { setStage, handOver, acts: [toStaging] } : cardboard);
