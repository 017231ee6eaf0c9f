using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>All log messages of the hosting layer, with stable event ids from 101 on.</summary>
internal static partial class HostingLog
{
    public const string Category = "AllocTools.Hosting";

    [LoggerMessage(101, LogLevel.Warning, "A second pool '{Pool}' exists in this process, in another host. Metrics can't distinguish the two; give them different names.")]
    public static partial void SameNameInProcess(ILogger logger, string pool);

    [LoggerMessage(103, LogLevel.Error, "Closing the endpoint of pool '{Pool}' failed.")]
    public static partial void EndpointCloseFailed(ILogger logger, string pool, Exception exception);

    [LoggerMessage(104, LogLevel.Error, "Closing the provider of pool '{Pool}' failed.")]
    public static partial void ProviderCloseFailed(ILogger logger, string pool, Exception exception);

    [LoggerMessage(105, LogLevel.Warning, "The section '{Section}' of pool '{Pool}' is empty or missing; the pool uses the default options, or those set in code.")]
    public static partial void SectionMissing(ILogger logger, string pool, string section);

    [LoggerMessage(106, LogLevel.Error, "The pool '{Pool}' ({Place}) could not be warmed up in the background; rents register what they need themselves.")]
    public static partial void WarmUpFailed(ILogger logger, string pool, string place, Exception exception);

    [LoggerMessage(107, LogLevel.Information, "Pool '{Pool}' applied changed options: {Changes}.")]
    public static partial void Reloaded(ILogger logger, string pool, string changes);

    [LoggerMessage(108, LogLevel.Warning, "Some changed options of pool '{Pool}' take effect only at the next start: {Changes}.")]
    public static partial void RestartNeeded(ILogger logger, string pool, string changes);

    [LoggerMessage(109, LogLevel.Error, "The changed options of pool '{Pool}' are invalid; it keeps its current options. {Failures}")]
    public static partial void ReloadRejected(ILogger logger, string pool, string failures, Exception? exception);

    [LoggerMessage(110, LogLevel.Warning, "The section '{Section}' of pool '{Pool}' was removed; the pool keeps its current options.")]
    public static partial void SectionGone(ILogger logger, string pool, string section);

    [LoggerMessage(111, LogLevel.Error, "The configuration file '{File}' can't be read: {Reason} Pools keep their current options until it can be read.")]
    public static partial void FileBroken(ILogger logger, string file, string reason);

    [LoggerMessage(112, LogLevel.Information, "The section '{Section}' of pool '{Pool}' is not part of the host's configuration, so errors in its files are not reported.")]
    public static partial void FilesNotWatched(ILogger logger, string pool, string section);

    [LoggerMessage(113, LogLevel.Debug, "The pool '{Pool}' {What}; see the exception.")]
    public static partial void StartFailed(ILogger logger, string pool, string what, Exception exception);
}
