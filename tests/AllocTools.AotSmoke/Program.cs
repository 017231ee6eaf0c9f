using AllocTools.AotSmoke;

// Uses the library like an application that is trimmed and compiled ahead of time. The exit code is 0 only if every check passed.
try
{
    using var application = new SmokeApplication();
    BoundOptions.Check(application.Services);
    Step.Done("Every option of appsettings.json arrived.");

    await application.StartAsync();
    Step.Done("The host started six pools: two on libfabric, one on page-locked memory, one on UCX, one on MPI, one on a provider of the application's.");

    RentsAndReturns.Check(application.Services);
    Step.Done("Buffers went out and came back, and the statistics show it.");

    await Transfers.CheckAsync(application.Services);
    Step.Done("Bytes went by RMA from pool to pool and over the rails of a multi-rail, and are the same there.");

    await Conversation.CheckAsync(application.Services);
    Step.Done("A connection over UCX, set up by connections over page-locked memory, carried bytes both ways.");

    await HealthReports.CheckAsync(application.Services);
    Step.Done("The health checks report six healthy pools, and healthy connections.");

    ExportedMetrics.Check(application.Services, application.Exported);
    Step.Done("OpenTelemetry exported what the pools' statistics say.");

    await application.StopAsync();
    Step.Done("The host stopped, and nothing is registered.");

    await RefusedStart.CheckAsync();
    Step.Done("A configuration with mistakes failed the start, with the path of each.");
    return 0;
}
catch (Exception e)
{
    await Console.Error.WriteLineAsync($"FAILED after '{Step.Last}': {e}");
    return 1;
}
