import { createFakeBackup } from '../../support/fakes/backup.ts';
import { describeBackup } from './suite.ts';

describeBackup('fake', () => {
  const backup = createFakeBackup();
  return Promise.resolve({
    backup,
    put: (key, value) => {
      backup.rows().set(key, value);
      return Promise.resolve();
    },
    remove: (key) => {
      backup.rows().delete(key);
      return Promise.resolve();
    },
    rows: () => Promise.resolve(Object.fromEntries(backup.rows())),
    stop: () => Promise.resolve(),
  });
});
