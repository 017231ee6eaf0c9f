using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>Every message of the hosting layer, with stable event ids from 101 on.</summary>
internal static partial class HostingLog
{
    public const string Category = "AllocTools.Hosting";

    [LoggerMessage(101, LogLevel.Warning, "A second pool '{Pool}' lives in this process, in another host. Metrics of the two can't be told apart; name them differently.")]
    public static partial void SameNameInProcess(ILogger logger, string pool);

    [LoggerMessage(103, LogLevel.Error, "Closing the endpoint of pool '{Pool}' failed.")]
    public static partial void EndpointCloseFailed(ILogger logger, string pool, Exception exception);

    [LoggerMessage(104, LogLevel.Error, "Closing the provider of pool '{Pool}' failed.")]
    public static partial void ProviderCloseFailed(ILogger logger, string pool, Exception exception);

    [LoggerMessage(105, LogLevel.Warning, "The section '{Section}' of pool '{Pool}' is empty or not there; the pool has its default options, or those of the code.")]
    public static partial void SectionMissing(ILogger logger, string pool, string section);

    [LoggerMessage(106, LogLevel.Error, "The pool '{Pool}' ({Place}) could not be warmed up in the background; rents register what they need themselves.")]
    public static partial void WarmUpFailed(ILogger logger, string pool, string place, Exception exception);

    [LoggerMessage(107, LogLevel.Information, "Pool '{Pool}' took over changed options: {Changes}.")]
    public static partial void Reloaded(ILogger logger, string pool, string changes);

    [LoggerMessage(108, LogLevel.Warning, "Options of pool '{Pool}' have changed that take effect at the next start only: {Changes}.")]
    public static partial void RestartNeeded(ILogger logger, string pool, string changes);

    [LoggerMessage(109, LogLevel.Error, "The changed options of pool '{Pool}' are invalid; it keeps those it has. {Failures}")]
    public static partial void ReloadRejected(ILogger logger, string pool, string failures, Exception? exception);

    [LoggerMessage(110, LogLevel.Warning, "The section '{Section}' of pool '{Pool}' is gone; the pool keeps the options it has.")]
    public static partial void SectionGone(ILogger logger, string pool, string section);

    [LoggerMessage(111, LogLevel.Error, "The configuration file '{File}' can't be read: {Reason} Pools keep the options they have until it can.")]
    public static partial void FileBroken(ILogger logger, string file, string reason);

    [LoggerMessage(112, LogLevel.Information, "The section '{Section}' of pool '{Pool}' is not part of the host's configuration: a file of it that can't be parsed is not reported.")]
    public static partial void FilesNotWatched(ILogger logger, string pool, string section);

    [LoggerMessage(113, LogLevel.Debug, "The pool '{Pool}' {What}; the exception says where.")]
    public static partial void StartFailed(ILogger logger, string pool, string what, Exception exception);
}
