using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints;

namespace AllocTools.Providers;

/// <summary>The keys of <see cref="RmaEndpointOptions"/>, which each provider's endpoints may have.</summary>
[Experimental(ExperimentalId.Providers)]
public static class RmaEndpointOptionKeys
{
    /// <summary>Adds a key for each option that every endpoint has.</summary>
    /// <typeparam name="TOptions">The options, which may have further keys.</typeparam>
    /// <param name="keys">The keys to which they are added.</param>
    /// <returns>The same keys.</returns>
    public static RmaOptionKeys<TOptions> EndpointOptions<TOptions>(this RmaOptionKeys<TOptions> keys)
        where TOptions : RmaEndpointOptions
    {
        ArgumentNullException.ThrowIfNull(keys);
        return keys
            .Choice<RmaProgress>(nameof(RmaEndpointOptions.Progress), (o, v) => o.Progress = v)
            .Choice<RmaContinuations>(nameof(RmaEndpointOptions.Continuations), (o, v) => o.Continuations = v)
            .Duration(nameof(RmaEndpointOptions.OperationTimeout), (o, v) => o.OperationTimeout = v)
            .Integer(nameof(RmaEndpointOptions.MaxOutstanding), (o, v) => o.MaxOutstanding = v)
            .Size(nameof(RmaEndpointOptions.MaxMessageLength), (o, v) => o.MaxMessageLength = v)
            .Integer(nameof(RmaEndpointOptions.MaxNotifications), (o, v) => o.MaxNotifications = v)
            .LimitedDuration(nameof(RmaEndpointOptions.SpinTime), TimeSpan.FromSeconds(1), (o, v) => o.SpinTime = v)
            .LimitedDuration(nameof(RmaEndpointOptions.LongestPause), TimeSpan.FromSeconds(1), (o, v) => o.LongestPause = v)
            .Duration(nameof(RmaEndpointOptions.SlowPeerTime), (o, v) => o.SlowPeerTime = v)
            .Section(
                nameof(RmaEndpointOptions.Retry),
                o => o.Retry,
                new RmaOptionKeys<RmaRetryOptions>()
                    .Integer(nameof(RmaRetryOptions.MaxRetries), (o, v) => o.MaxRetries = v)
                    .LimitedDuration(nameof(RmaRetryOptions.Delay), TimeSpan.FromMinutes(1), (o, v) => o.Delay = v)
                    .LimitedDuration(nameof(RmaRetryOptions.MaxDelay), TimeSpan.FromHours(1), (o, v) => o.MaxDelay = v));
    }
}
