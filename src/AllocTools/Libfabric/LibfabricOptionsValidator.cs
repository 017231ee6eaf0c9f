using System.Globalization;
using Microsoft.Extensions.Options;

namespace AllocTools.Libfabric;

/// <summary>Validates <see cref="LibfabricOptions"/>, and reports all failures at once.</summary>
public sealed class LibfabricOptionsValidator : IValidateOptions<LibfabricOptions>
{
    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, LibfabricOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        List<string> failures = [.. new LibfabricOptionsRanges().Validate(name: null, options).Failures ?? []];
        foreach (string setting in options.Settings.Keys)
        {
            if (!setting.StartsWith("FI_", StringComparison.Ordinal) || setting.Contains('=', StringComparison.Ordinal))
                failures.Add($"Settings has '{setting}'; the names of libfabric's settings must start with FI_ and must not contain '='.");
        }
        if (options.Service is { Length: > 0 } && string.IsNullOrEmpty(options.Node))
            failures.Add($"Service is '{options.Service}', but Node is not set; it must be set, too, because a port is bound at an address.");
        // libfabric would use the value modulo 65536.
        if (long.TryParse(options.Service, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long port) && port is < 0 or > ushort.MaxValue)
            failures.Add($"Service is '{options.Service}'; it must be a port between 0 and 65,535, or the name of a service.");
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(LibfabricOptions options)
    {
        ValidateOptionsResult result = new LibfabricOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(LibfabricOptions), typeof(LibfabricOptions), result.Failures);
    }
}

/// <summary>Validates the ranges of <see cref="LibfabricOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class LibfabricOptionsRanges : IValidateOptions<LibfabricOptions>;

/// <summary>Validates the ranges of <see cref="LibfabricEndpointOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class LibfabricEndpointOptionsRanges : IValidateOptions<LibfabricEndpointOptions>;
