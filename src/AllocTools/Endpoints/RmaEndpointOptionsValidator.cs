using System.Diagnostics.CodeAnalysis;
using AllocTools.Providers;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Endpoints;

/// <summary>
/// Validates <see cref="RmaEndpointOptions"/>, for the validator of a provider's options that contain them:
/// <c>[ValidateObjectMembers(typeof(RmaEndpointOptionsValidator))]</c> if it is generated from attributes.
/// </summary>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaEndpointOptionsValidator : IValidateOptions<RmaEndpointOptions>
{
    /// <summary>Checks the range of each option. All failures are reported at once.</summary>
    /// <param name="name">The path of the options, such as <c>CardOptions.Endpoint</c>. A failure starts with the part after
    /// the first dot, here <c>Endpoint:SpinTime</c>; if the path is null, it starts with the option's name.</param>
    /// <param name="options">The options.</param>
    public ValidateOptionsResult Validate(string? name, RmaEndpointOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new RmaEndpointOptionsRanges().Validate(name, options);
    }

    internal static void ThrowIfInvalid(RmaEndpointOptions options)
    {
        ValidateOptionsResult result = new RmaEndpointOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(RmaEndpointOptions), options.GetType(), result.Failures);
    }
}

/// <summary>Validates the ranges of <see cref="RmaEndpointOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class RmaEndpointOptionsRanges : IValidateOptions<RmaEndpointOptions>;

/// <summary>Validates <see cref="RmaRetryOptions"/>.</summary>
internal sealed class RmaRetryOptionsValidator : IValidateOptions<RmaRetryOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaRetryOptions options)
    {
        ValidateOptionsResult ranges = new RmaRetryOptionsRanges().Validate(name, options);
        if (ranges.Failed || options.MaxDelay >= options.Delay)
            return ranges;
        string path = name is null ? "" : name[(name.IndexOf('.', StringComparison.Ordinal) + 1)..].Replace('.', ':') + ":";
        return ValidateOptionsResult.Fail(
            $"{path}{nameof(options.MaxDelay)} is {InWords.Time(options.MaxDelay)}; it must not be shorter than {path}{nameof(options.Delay)}, {InWords.Time(options.Delay)}.");
    }
}

/// <summary>Validates the ranges of <see cref="RmaRetryOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class RmaRetryOptionsRanges : IValidateOptions<RmaRetryOptions>;
