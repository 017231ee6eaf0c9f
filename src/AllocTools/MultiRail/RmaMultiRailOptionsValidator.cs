using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.MultiRail;

/// <summary>Validates <see cref="RmaMultiRailOptions"/>.</summary>
internal sealed class RmaMultiRailOptionsValidator : IValidateOptions<RmaMultiRailOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaMultiRailOptions options)
    {
        List<string> failures = [.. new RmaMultiRailOptionsRanges().Validate(null, options).Failures ?? []];
        if (options.MaxDelay < options.Delay)
            failures.Add($"MaxDelay is {InWords.Time(options.MaxDelay)}; it must not be shorter than Delay, {InWords.Time(options.Delay)}.");
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    /// <exception cref="OptionsValidationException">The options are invalid.</exception>
    public static void ThrowIfInvalid(RmaMultiRailOptions options)
    {
        ValidateOptionsResult result = new RmaMultiRailOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(RmaMultiRailOptions), typeof(RmaMultiRailOptions), result.Failures);
    }

    /// <summary>Returns why a list of rail names is invalid, with the index of each invalid name; empty if the list is valid.</summary>
    public static IEnumerable<string> FailuresOf(IReadOnlyList<string?> names)
    {
        if (names.Count is 0 or > RailForm.MostRails)
            yield return $"Rails has {InWords.Count(names.Count, "entry", "entries")}; it must have between 1 and {RailForm.MostRails}.";
        for (int i = 0; i < names.Count; i++)
        {
            if (!RailForm.IsName(names[i]))
                yield return $"Rails:{i}:Name is '{names[i]}'; it must have between 1 and {RailForm.LongestName} printable ASCII characters.";
            else if (names.Take(i).Contains(names[i]))
                yield return $"Rails:{i}:Name is '{names[i]}', as that of an earlier rail; each rail must have a name of its own.";
        }
    }
}

/// <summary>Validates the ranges of <see cref="RmaMultiRailOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class RmaMultiRailOptionsRanges : IValidateOptions<RmaMultiRailOptions>;
