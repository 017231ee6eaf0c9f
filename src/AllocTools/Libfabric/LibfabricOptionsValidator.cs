using System.Globalization;
using Microsoft.Extensions.Options;

namespace AllocTools.Libfabric;

/// <summary>The rules of <see cref="LibfabricOptions"/>. All failures at once.</summary>
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
                failures.Add($"Settings has '{setting}'; libfabric's settings start with FI_.");
        }
        if (options.Service is { Length: > 0 } && string.IsNullOrEmpty(options.Node))
            failures.Add($"Service is '{options.Service}' without Node; a port is bound at an address. Set Node, too.");
        // libfabric takes it modulo 65536.
        if (long.TryParse(options.Service, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long port) && port is < 0 or > ushort.MaxValue)
            failures.Add($"Service is '{options.Service}'; it is a port, 0 to {ushort.MaxValue}, or the name of a service.");
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(LibfabricOptions options)
    {
        ValidateOptionsResult result = new LibfabricOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(LibfabricOptions), typeof(LibfabricOptions), result.Failures);
    }
}
