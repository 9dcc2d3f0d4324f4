import { describeTerraform } from '../support/terraform-suite.ts';

describeTerraform('terraform');
