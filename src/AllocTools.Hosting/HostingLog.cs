using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>Every message of the hosting layer, with stable event ids from 101 on.</summary>
internal static partial class HostingLog
{
    public const string Category = "AllocTools.Hosting";

    [LoggerMessage(101, LogLevel.Warning, "A second pool '{Pool}' lives in this process, in another host. Metrics of the two can't be told apart; name them differently.")]
    public static partial void SameNameInProcess(ILogger logger, string pool);

    [LoggerMessage(102, LogLevel.Information, "Pool '{Pool}' waits up to {Timeout} for {Buffers} buffers that are still out.")]
    public static partial void Draining(ILogger logger, string pool, TimeSpan timeout, long buffers);

    [LoggerMessage(103, LogLevel.Error, "Closing the endpoint of pool '{Pool}' failed.")]
    public static partial void EndpointCloseFailed(ILogger logger, string pool, Exception exception);

    [LoggerMessage(104, LogLevel.Error, "Closing the provider of pool '{Pool}' failed.")]
    public static partial void ProviderCloseFailed(ILogger logger, string pool, Exception exception);
}
