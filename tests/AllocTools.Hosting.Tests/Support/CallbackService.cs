using Microsoft.Extensions.Hosting;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>An application's hosted service that runs the actions of a test.</summary>
public sealed class CallbackService(Action? start = null, Action? stop = null) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken)
    {
        start?.Invoke();
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        stop?.Invoke();
        return Task.CompletedTask;
    }
}
