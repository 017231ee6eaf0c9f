using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Applies rules to the options of one name, and adds the place of the options to each failure.</summary>
internal sealed class NamedOptionsValidator<TOptions> : IValidateOptions<TOptions>
    where TOptions : class
{
    private readonly string _name;
    private readonly string _origin;
    private readonly IValidateOptions<TOptions> _rules;

    /// <param name="name">The name of the options.</param>
    /// <param name="origin">The prefix of the option's name: the section's path, or the pool's name.</param>
    /// <param name="rules">The rules; their failures start with the option's name.</param>
    public NamedOptionsValidator(string name, string origin, IValidateOptions<TOptions> rules)
    {
        _name = name;
        _origin = origin;
        _rules = rules;
    }

    public ValidateOptionsResult Validate(string? name, TOptions options)
    {
        if (name != _name)
            return ValidateOptionsResult.Skip;
        ValidateOptionsResult result = _rules.Validate(name, options);
        return result.Failed ? ValidateOptionsResult.Fail(result.Failures.Select(f => _origin + f)) : result;
    }
}
