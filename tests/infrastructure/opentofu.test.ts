import { describeTerraform } from '../support/terraform-suite.ts';

describeTerraform('opentofu');
