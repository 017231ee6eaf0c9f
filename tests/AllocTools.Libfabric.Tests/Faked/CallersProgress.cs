using AllocTools.Endpoints;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>The thread of a caller who makes progress for an endpoint without a thread.</summary>
internal static class CallersProgress
{
    /// <summary>Makes progress until the endpoint is closed.</summary>
    public static void Start(FakeWorld world, IRmaEndpoint endpoint)
    {
        if (world.Progress == RmaProgress.Caller)
            new Thread(() => Run(endpoint)) { IsBackground = true, Name = "Poll" }.Start();
    }

    private static void Run(IRmaEndpoint endpoint)
    {
        try
        {
            while (true)
            {
                endpoint.Poll([]);
                Thread.Yield();
            }
        }
        catch (ObjectDisposedException)
        {
        }
    }
}
