namespace WorkerService.Application;

/// <summary>What the process returns.</summary>
internal static class ExitCode
{
    /// <summary>The file is there, and its hash is right.</summary>
    public const int Success = 0;

    /// <summary>It is not there; the reason is on the standard error.</summary>
    public const int Failure = 1;

    /// <summary>A switch or an option can't be used.</summary>
    public const int Usage = 2;

    /// <summary>It was stopped, by Ctrl-C or a signal.</summary>
    public const int Stopped = 130;
}
