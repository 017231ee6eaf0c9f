using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.TestPeer;

/// <summary>Opens endpoints until one is refused, and says how: for processes that the system limits.</summary>
internal static class OpenProbe
{
    public static int Run(string fabric, int count)
    {
        List<IRmaEndpoint> endpoints = [];
        try
        {
            using IRmaContext context = Fabric.Open(fabric);
            while (endpoints.Count < count)
                endpoints.Add(context.OpenEndpoint());
            Console.Out.WriteLine($"opened {endpoints.Count}");
        }
        catch (RmaException e)
        {
            Console.Out.WriteLine($"refused {endpoints.Count}: {e.ErrorName}: {e.Message}");
        }
        endpoints.ForEach(e => e.Dispose());
        return 0;
    }
}
