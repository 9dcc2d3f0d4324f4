import { handOver } from './keep.ts';
import { playDemo } from './play.ts';
import { setStage } from './stage.ts';
import * as story from './story.ts';

process.exitCode = await playDemo(process.argv.slice(2), {
  setStage,
  handOver,
  acts: [
    story.deliveriesAreGuarded,
    story.toStaging,
    story.firstRelease,
    story.goodRelease,
    story.badReleaseGoesBack,
    story.rejected,
    story.expiredWhileTheWorkerDies,
  ],
});
