using AllocTools.Providers;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting.Configuration;

/// <summary>Binds the options of one name to a section, and reports everything in the section that can't be bound.</summary>
/// <param name="name">The name of the options.</param>
/// <param name="section">The section.</param>
/// <param name="keys">The keys it may have.</param>
/// <param name="others">Keys that belong to other options.</param>
/// <param name="allowsUnknownKeys">The section with the key that allows unknown keys.</param>
/// <param name="bound">Called when options are bound; may be null.</param>
internal sealed class SectionOptions<TOptions>(
    string name,
    IConfigurationSection section,
    IReadOnlyList<RmaOptionKey> keys,
    IReadOnlyCollection<string> others,
    IConfigurationSection allowsUnknownKeys,
    Action? bound = null) : IConfigureNamedOptions<TOptions>, IValidateOptions<TOptions>
    where TOptions : class
{
    public void Configure(string? optionsName, TOptions options)
    {
        if (optionsName != name)
            return;
        bound?.Invoke();
        SectionReader.Bind(keys, Read().Values, options);
    }

    public void Configure(TOptions options) => Configure(Options.DefaultName, options);

    public ValidateOptionsResult Validate(string? optionsName, TOptions options)
    {
        if (optionsName != name)
            return ValidateOptionsResult.Skip;
        IReadOnlyList<string> failures = Read().Failures;
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    private (IReadOnlyList<string> Failures, IConfiguration Values) Read() =>
        SectionReader.Read(section, keys, others, bool.TryParse(allowsUnknownKeys.Value, out bool allows) && allows);
}
