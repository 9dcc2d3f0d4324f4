import type { Commands } from './commands.ts';
import type { ApiDependencies } from './dependencies.ts';
import type { Feeds } from './feeds.ts';
import type { PageLinks } from './page-links.ts';
import type { PageRegistrar } from './page-route.ts';
import type { ProjectReader } from './project-reader.ts';
import type { ScheduleKeeper } from './project-schedules.ts';
import type { Starter } from './starts.ts';

/** What routes work with. */
export interface ApiContext {
  readonly deps: ApiDependencies;
  readonly projects: ProjectReader;
  readonly starter: Starter;
  readonly schedules: ScheduleKeeper;
  readonly commands: Commands;
  readonly feeds: Feeds;
  readonly links: PageLinks;
  readonly pageRoute: PageRegistrar;
}
