import { describe } from '@jest/globals';
import { reportKinds } from '../../../src/domain/report.ts';
import { readerSuite } from './suite.ts';

describe.each([...reportKinds])('%s', (kind) => readerSuite(kind));
