// The checks that CloudFormation makes of parameters. A value that is written into the resources is no parameter any
// more, so its checks are made when the app is synthesized.

export interface Parameter {
  readonly Type: string;
  readonly Default?: string | number;
  readonly AllowedValues?: (string | number)[];
  readonly AllowedPattern?: string;
  readonly ConstraintDescription?: string;
  readonly MinValue?: number;
  readonly MaxValue?: number;
  readonly MaxLength?: number;
}

export interface Template {
  readonly Parameters: Record<string, Parameter>;
  readonly Rules: Record<string, { RuleCondition?: unknown; Assertions: { Assert: unknown; AssertDescription: string }[] }>;
  readonly Resources: Record<string, { Type: string; Properties: Record<string, any> }>;
}

/** Returns what is wrong with a value, as CloudFormation would say it. */
export function problemOf(parameter: Parameter, value: string | number | string[]): string | undefined {
  if (Array.isArray(value)) return undefined;
  const { AllowedValues: values, AllowedPattern: pattern, MinValue: least, MaxValue: most, MaxLength: longest } = parameter;
  const text = String(value);
  if (values && !values.map(String).includes(text)) return `must be one of ${values.join(', ')}`;
  if (pattern && !new RegExp(`^(?:${pattern})$`).test(text)) return parameter.ConstraintDescription ?? `must match ${pattern}`;
  if (least !== undefined && Number(value) < least) return `must be at least ${least}`;
  if (most !== undefined && Number(value) > most) return `must be at most ${most}`;
  if (longest !== undefined && text.length > longest) return `must have at most ${longest} characters`;
  return undefined;
}

/**
 * Returns for each rule of the template the parameters that it names, and what the given values and the defaults break. A
 * value that is known only when the stack is deployed counts as one that is not empty.
 */
export function brokenRules(
  template: Template,
  given: Record<string, unknown>,
  isUnknown: (value: unknown) => boolean,
): Record<string, { parameters: string[]; problems: string[] }> {
  const broken: Record<string, { parameters: string[]; problems: string[] }> = {};
  for (const [name, { RuleCondition: condition, Assertions: assertions }] of Object.entries(template.Rules ?? {})) {
    const parameters = new Set<string>();
    const valueOf = (parameter: string) => {
      parameters.add(parameter);
      const { Type: type, Default: otherwise = '' } = template.Parameters[parameter];
      const value = given[parameter] ?? otherwise;
      if (isUnknown(value)) return type === 'CommaDelimitedList' ? ['unknown'] : 'unknown';
      return type === 'CommaDelimitedList' && !Array.isArray(value) ? String(value).split(',') : value;
    };
    const applies = condition === undefined || evaluate(condition, valueOf);
    const failed = assertions.filter(({ Assert: assertion }) => !evaluate(assertion, valueOf));
    broken[name] = {
      parameters: [...parameters],
      problems: applies ? failed.map(({ AssertDescription: description }) => description) : [],
    };
  }
  return broken;
}

/** Returns the value of an expression of the functions that the template's rules use. */
function evaluate(expression: any, valueOf: (parameter: string) => unknown): any {
  if (typeof expression !== 'object' || expression === null) return expression;
  if (Array.isArray(expression)) return expression.map((part) => evaluate(part, valueOf));
  const [[name, argument]] = Object.entries<any>(expression);
  if (name === 'Ref') return valueOf(argument);
  // Every part is evaluated, so that each parameter is found.
  const parts = evaluate(argument, valueOf);
  switch (name) {
    case 'Fn::Equals':
      return String(parts[0]) === String(parts[1]);
    case 'Fn::Not':
      return !parts[0];
    case 'Fn::And':
      return parts.every(Boolean);
    case 'Fn::Or':
      return parts.some(Boolean);
    case 'Fn::Join':
      return parts[1].join(parts[0]);
    case 'Fn::Contains':
      return parts[0].includes(parts[1]);
    default:
      throw new Error(`a rule of the template uses ${name}, which is not known here`);
  }
}
