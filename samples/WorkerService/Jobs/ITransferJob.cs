namespace WorkerService.Jobs;

/// <summary>What this process does, from start to end.</summary>
internal interface ITransferJob
{
    /// <summary>It goes on until it is stopped: being stopped is no failure.</summary>
    bool EndsWithStop => false;

    /// <summary>Moves one file. Throws where it isn't there afterwards.</summary>
    Task RunAsync(CancellationToken cancellationToken);
}
