using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>Opens endpoints until one is refused, and prints how: for processes with limits set by the system.</summary>
internal static class OpenProbe
{
    public static int Run(string fabric, int count)
    {
        using var logging = new LoggerFactory([new LineLoggerProvider()], new LoggerFilterOptions { MinLevel = LogLevel.Warning });
        List<IRmaEndpoint> endpoints = [];
        try
        {
            using IRmaContext context = Fabric.Open(fabric, loggerFactory: logging);
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
