namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>Runs <see cref="NativeProgram"/> once for all tests of a class.</summary>
public sealed class NativeProgramFixture
{
    internal Dictionary<string, long[]> Native { get; } = NativeProgram.Run();
}
