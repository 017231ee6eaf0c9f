using System.Reflection;
using System.Runtime.Loader;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>
/// Rents and returns in a build of the library that is loaded beside this one. The same build is up to a fifth slower
/// if it is the first that is loaded, and faster or slower depending on the location of its code and its data.
/// Therefore one is loaded without being used, and each build is loaded several times; these copies take turns.
/// </summary>
internal static class LoadedBuild
{
    private const int Copies = 9;
    /// <summary>The build without counters (<c>-p:AllocToolsCounters=false</c>), where eng/bench puts it.</summary>
    public static readonly string WithoutCounters = Path.GetFullPath(
        Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "without-counters", "bin", "AllocTools", "release", "AllocTools.dll"));

    /// <summary>The build of this program.</summary>
    public static readonly string Own = Path.Combine(AppContext.BaseDirectory, "AllocTools.dll");

    private static readonly Lazy<Workload> FirstLoaded = new(() =>
    {
        Workload first = Load(Own, 64 << 10);
        for (int i = 0; i < 100; i++)
            first.Run(100_000);
        return first;
    });

    public static IWorkload OneInFlight(string library, int size)
    {
        FirstLoaded.Value.Run(1);
        IWorkload[] all = [.. Enumerable.Range(0, Copies).Select(_ => Load(library, size))];
        return new Workload(
            operations =>
            {
                foreach (IWorkload one in all)
                    one.Run(operations / Copies);
            },
            () => Array.ForEach(all, one => one.Dispose()));
    }

    private static Workload Load(string library, int size)
    {
        AssemblyLoadContext context = new(library);
        // The library is loaded first: an assembly that the context does not have is looked for in the program's own, which has AllocTools, too.
        context.LoadFromAssemblyPath(library);
        // This loads the program once more, bound to that library.
        Assembly program = context.LoadFromAssemblyPath(typeof(LoadedBuild).Assembly.Location);
        object workload = program.GetType(typeof(OneInFlight).FullName!, throwOnError: true)!
            .GetMethod(nameof(Pairs.OneInFlight.Own))!.Invoke(null, [size])!;
        Type type = workload.GetType();
        return new Workload(
            type.GetMethod(nameof(IWorkload.Run))!.CreateDelegate<Action<int>>(workload),
            type.GetMethod(nameof(IDisposable.Dispose))!.CreateDelegate<Action>(workload));
    }
}
