import { expect, test } from '@jest/globals';
import { noticeRefusal } from '../../../src/local/refusal.ts';

function grounds() {
  const now = { program: 'one', open: new Set(['run/1', 'environment/2']) };
  const given = {
    program: () => Promise.resolve(now.program),
    open: () => Promise.resolve<ReadonlySet<string>>(new Set(now.open)),
  };
  return { now, given };
}

test('a build is tried again when one of the workflows that were open is over, also where another has begun meanwhile', async () => {
  const { now, given } = grounds();
  const hasChanged = await noticeRefusal('BuildRefused', given);
  expect(await hasChanged()).toBe(false);
  now.open.add('upkeep/3');
  expect(await hasChanged()).toBe(false);
  now.open.delete('run/1');
  now.open.add('upkeep/4');
  expect(await hasChanged()).toBe(true);
});

test('and when another program is in place; that is all that a setting is tried again for', async () => {
  for (const type of ['BuildRefused', 'ConfigurationInvalid'] as const) {
    const { now, given } = grounds();
    const hasChanged = await noticeRefusal(type, given);
    if (type === 'ConfigurationInvalid') now.open.clear();
    expect(await hasChanged()).toBe(false);
    now.program = 'two';
    expect(await hasChanged()).toBe(true);
  }
});

test('Temporal is asked nothing for a setting, and one that does not answer says nothing', async () => {
  const away = { program: () => Promise.resolve('one'), open: () => Promise.reject(new Error('away')) };
  await expect(noticeRefusal('BuildRefused', away)).rejects.toThrow('away');
  expect(await (await noticeRefusal('ConfigurationInvalid', away))()).toBe(false);
});
