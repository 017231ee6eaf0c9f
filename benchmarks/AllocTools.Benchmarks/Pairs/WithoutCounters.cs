using System.Reflection;
using System.Runtime.Loader;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>A rent and return in a build of the library that counts nothing (<c>-p:AllocToolsCounters=false</c>), beside this one in the process.</summary>
internal static class WithoutCounters
{
    /// <summary>Where eng/bench puts that build.</summary>
    private static readonly string Library = Path.GetFullPath(
        Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "without-counters", "bin", "AllocTools", "release", "AllocTools.dll"));

    public static bool IsBuilt => File.Exists(Library);

    public static IWorkload OneInFlight(int size)
    {
        AssemblyLoadContext context = new("without counters");
        context.Resolving += (own, name) => name.Name == "AllocTools" ? own.LoadFromAssemblyPath(Library) : null;
        // This program once more, bound to the other library.
        Assembly program = context.LoadFromAssemblyPath(typeof(WithoutCounters).Assembly.Location);
        object workload = program.GetType(typeof(OneInFlight).FullName!, throwOnError: true)!
            .GetMethod(nameof(Pairs.OneInFlight.Own))!.Invoke(null, [size])!;
        Type type = workload.GetType();
        return new Workload(
            type.GetMethod(nameof(IWorkload.Run))!.CreateDelegate<Action<int>>(workload),
            type.GetMethod(nameof(IDisposable.Dispose))!.CreateDelegate<Action>(workload));
    }
}
