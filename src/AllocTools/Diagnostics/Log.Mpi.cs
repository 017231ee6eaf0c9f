using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>The log messages of MPI.</summary>
internal static partial class Log
{
    [LoggerMessage(70, LogLevel.Information, "Opened provider '{Provider}' as rank {Rank} of {Size} ({Library}).")]
    public static partial void MpiOpened(ILogger logger, string provider, int rank, int size, string library);

    [LoggerMessage(71, LogLevel.Warning, "MPI's setting {Name}={Value} comes too late: MPI was already initialized in this process. Set it in the environment.")]
    public static partial void MpiSettingTooLate(ILogger logger, string name, string value);

    [LoggerMessage(72, LogLevel.Debug, "MPI's setting {Name} is set in the environment already; the option's value {Value} is not used.")]
    public static partial void MpiSettingKept(ILogger logger, string name, string value);

    [LoggerMessage(73, LogLevel.Error, "MPI is not finalized: {Why}. The process ends without it, and mpirun may end the other ranks.")]
    public static partial void MpiNotFinalized(ILogger logger, string why);

    [LoggerMessage(74, LogLevel.Error, "A call into MPI that belongs to no open endpoint failed; MPI is still used: {Error}")]
    public static partial void MpiFailedAside(ILogger logger, string error);

    [LoggerMessage(75, LogLevel.Warning, "{Implementation} is used, as the options say, although {Variable} is set, which the mpirun of {Other} does. If that mpirun started this process, each process is a job of its own.")]
    public static partial void MpiStarterDiffers(ILogger logger, string implementation, string variable, string other);
}
