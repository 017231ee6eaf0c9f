using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.TestPeer;

/// <summary>Opens endpoints, one after the other, and prints how many there are, or why no more can be opened.</summary>
internal static class EndpointsProbe
{
    public static int Run(string fabric, int count, bool kill)
    {
        List<IRmaEndpoint> endpoints = [];
        try
        {
            using IRmaContext context = Fabric.Open(fabric);
            while (endpoints.Count < count)
                endpoints.Add(context.OpenEndpoint());
            Console.WriteLine($"all {count}");
            // SIGKILL: it has no time to say goodbye.
            if (kill)
                Process.GetCurrentProcess().Kill();
        }
        catch (RmaProviderException e)
        {
            Console.WriteLine($"refused after {endpoints.Count}, transient {e.IsTransient}: {e.Message}");
        }
        endpoints.ForEach(static e => e.Dispose());
        return 0;
    }
}
