using Microsoft.Extensions.Options;

namespace AllocTools.HostMemory;

/// <summary>Validates <see cref="HostProviderOptions"/>.</summary>
public sealed class HostProviderOptionsValidator : IValidateOptions<HostProviderOptions>
{
    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, HostProviderOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new HostProviderOptionsRanges().Validate(name: null, options);
    }

    internal static void ThrowIfInvalid(HostProviderOptions options)
    {
        ValidateOptionsResult result = new HostProviderOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(HostProviderOptions), typeof(HostProviderOptions), result.Failures);
    }
}

/// <summary>Validates the ranges of <see cref="HostProviderOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class HostProviderOptionsRanges : IValidateOptions<HostProviderOptions>;
