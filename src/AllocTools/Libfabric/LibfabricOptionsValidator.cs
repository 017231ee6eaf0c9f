using Microsoft.Extensions.Options;

namespace AllocTools.Libfabric;

/// <summary>The rules of <see cref="LibfabricOptions"/>. All failures at once.</summary>
public sealed class LibfabricOptionsValidator : IValidateOptions<LibfabricOptions>
{
    private const int MostOutstanding = 65536;

    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, LibfabricOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        List<string> failures = [];
        LibfabricEndpointOptions endpoint = options.Endpoint;
        if (endpoint.MaxOutstanding is < 1 or > MostOutstanding)
            failures.Add($"Endpoint:MaxOutstanding is {endpoint.MaxOutstanding}; it is 1 to {MostOutstanding} operations.");
        if (endpoint.OperationTimeout != Timeout.InfiniteTimeSpan
            && (endpoint.OperationTimeout < TimeSpan.FromMilliseconds(1) || endpoint.OperationTimeout > TimeSpan.FromHours(24)))
        {
            failures.Add($"Endpoint:OperationTimeout is {endpoint.OperationTimeout}; it is 1 ms to 24 hours, or -00:00:00.001 for no limit.");
        }
        if (endpoint.SpinTime < TimeSpan.Zero || endpoint.SpinTime > TimeSpan.FromSeconds(1))
            failures.Add($"Endpoint:SpinTime is {endpoint.SpinTime}; it is 0 to 1 second.");
        if (!Enum.IsDefined(endpoint.Progress))
            failures.Add($"Endpoint:Progress is {endpoint.Progress}; it is Endpoint or Caller.");
        if (!Enum.IsDefined(endpoint.CompletionLevel))
            failures.Add($"Endpoint:CompletionLevel is {endpoint.CompletionLevel}; it is Delivery or Transmit.");
        foreach (string setting in options.Settings.Keys)
        {
            if (!setting.StartsWith("FI_", StringComparison.Ordinal) || setting.Contains('=', StringComparison.Ordinal))
                failures.Add($"Settings has '{setting}'; libfabric's settings start with FI_.");
        }
        if (options.Service is { Length: > 0 } && string.IsNullOrEmpty(options.Node))
            failures.Add($"Service is '{options.Service}' without Node; a port is bound at an address. Set Node, too.");
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(LibfabricOptions options)
    {
        ValidateOptionsResult result = new LibfabricOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(LibfabricOptions), typeof(LibfabricOptions), result.Failures);
    }
}
