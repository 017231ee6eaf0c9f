using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Checks the rules of docs/architecture.md about which code may depend on which.</summary>
public sealed partial class ArchitectureTests
{
    private static readonly Assembly Core = typeof(IRmaMemoryPool).Assembly;

    [Fact]
    public void TheCoreDependsOnNothingButTheSharedFrameworkAndAbstractions()
    {
        string[] allowed =
        [
            "Microsoft.Extensions.DependencyInjection.Abstractions",
            "Microsoft.Extensions.Diagnostics.Abstractions",
            "Microsoft.Extensions.Logging.Abstractions",
            "Microsoft.Extensions.Options",
        ];
        Assert.All(
            Core.GetReferencedAssemblies().Select(a => a.Name!).Where(n => !n.StartsWith("System.", StringComparison.Ordinal)),
            name => Assert.Contains(name, allowed));
    }

    [Fact]
    public void NativeImportsStandInInteropNamespacesOnly()
    {
        foreach (Type type in Core.GetTypes())
        {
            foreach (MethodInfo method in type.GetMethods(All))
            {
                if (method.GetCustomAttribute<DllImportAttribute>() is not null || method.Attributes.HasFlag(MethodAttributes.PinvokeImpl))
                    Assert.True(IsInterop(type), $"{type}.{method.Name}");
            }
        }
    }

    [Fact]
    public void FunctionPointersStandInInteropNamespacesOnly()
    {
        foreach (Type type in Core.GetTypes())
        {
            foreach (FieldInfo field in type.GetFields(All))
                Assert.True(!field.FieldType.IsFunctionPointer || IsInterop(type), $"{type}.{field.Name}");
        }
    }

    [Fact]
    public void InteropKnowsNothingElseOfTheCore() =>
        CheckReferences(n => n.EndsWith(".Interop", StringComparison.Ordinal), n => n is "AllocTools.Interop" or "AllocTools.Libfabric.Interop" or "AllocTools.Ucx.Interop" or "AllocTools.Mpi.Interop");

    [Fact]
    public void PoolingKnowsNoProvider() =>
        CheckReferences(n => n == "AllocTools.Pooling", n => !IsProvider(n));

    [Fact]
    public void AProviderKnowsNoOtherProviderAndNoPoolsInside()
    {
        foreach (string provider in Providers)
        {
            CheckReferences(
                n => n == provider,
                n => n != "AllocTools.Pooling" && (!IsProvider(n) || n == provider || n.StartsWith(provider + ".", StringComparison.Ordinal)));
        }
    }

    [Fact]
    public void EndpointsKnowNoTransport() => CheckReferences(n => n.StartsWith("AllocTools.Endpoints", StringComparison.Ordinal), n => !IsProvider(n));

    [Fact]
    public void BuffersAndCachesKnowNoProviderAndNoCollections() =>
        CheckReferences(n => n is "AllocTools.Buffers" or "AllocTools.Caching", n => !IsProvider(n) && n is not ("AllocTools.Collections" or "AllocTools.Cells"));

    [Fact]
    public void CollectionsAndCellsKnowNoPoolsInsideAndNoProvider()
    {
        CheckReferences(n => n == "AllocTools.Collections", n => !IsProvider(n) && !IsInternalOfPools(n) && n != "AllocTools.Cells");
        CheckReferences(n => n == "AllocTools.Cells", n => !IsProvider(n) && !IsInternalOfPools(n) && n is not ("AllocTools.Collections" or "AllocTools.Buffers"));

        static bool IsInternalOfPools(string name) => name is "AllocTools.Pooling" or "AllocTools.Caching" or "AllocTools.Diagnostics" || name.EndsWith(".Interop", StringComparison.Ordinal);
    }

    [Fact]
    public void NothingElseOfTheCoreKnowsCollectionsOrCells() =>
        CheckReferences(n => n is not ("AllocTools.Collections" or "AllocTools.Cells"), n => n is not ("AllocTools.Collections" or "AllocTools.Cells"));

    [Fact]
    public void MultiRailKnowsNoProviderAndNoPoolsInsideAndNothingElseOfTheCoreKnowsIt()
    {
        CheckReferences(n => n == "AllocTools.MultiRail", n => !IsProvider(n) && n != "AllocTools.Pooling");
        CheckReferences(n => n != "AllocTools.MultiRail", n => n != "AllocTools.MultiRail");
    }

    [Fact]
    public void NamespacesFollowFolders()
    {
        string src = Path.Combine(Repository.Root, "src");
        // The folders of src are the projects. The template's files are not compiled here.
        (string Path, string Folder, string Namespace)[] files =
        [
            .. Directory.GetFiles(src, "*.cs", SearchOption.AllDirectories)
                .Select(f => (Path: f, Folder: Path.GetDirectoryName(Path.GetRelativePath(src, f))!.Replace('/', '.')))
                .Where(f => !f.Folder.Contains(".obj", StringComparison.Ordinal) && !f.Folder.StartsWith("AllocTools.Templates", StringComparison.Ordinal))
                .Select(f => (f.Path, f.Folder, Namespace: NamespaceOf().Match(File.ReadAllText(f.Path)).Groups[1].Value))
                .Where(f => f.Namespace != ""),
        ];
        Assert.NotEmpty(files);
        Assert.All(files, file => Assert.True(file.Namespace == file.Folder || ExtendsTheHost(file.Path, file.Namespace), $"{file.Path} has the namespace {file.Namespace}; it must be {file.Folder}."));

        // A class of extension methods is in the namespace of the type it extends, so that a program that uses a host
        // needs no other using.
        static bool ExtendsTheHost(string path, string name) =>
            path.EndsWith("Extensions.cs", StringComparison.Ordinal)
            && name is "Microsoft.Extensions.DependencyInjection" or "Microsoft.AspNetCore.Builder" or "Microsoft.AspNetCore.Hosting" or "OpenTelemetry.Metrics" or "OpenTelemetry.Trace" or "Orleans.Hosting";
    }

    private static readonly string[] Providers = ["AllocTools.Libfabric", "AllocTools.HostMemory", "AllocTools.Mpi", "AllocTools.Ucx"];

    private static bool IsProvider(string name) => Providers.Any(p => name == p || name.StartsWith(p + ".", StringComparison.Ordinal));

    [GeneratedRegex("^namespace ([^;]+);", RegexOptions.Multiline)]
    private static partial Regex NamespaceOf();

    private const BindingFlags All = BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private static bool IsInterop(Type type) => type.Namespace?.EndsWith(".Interop", StringComparison.Ordinal) == true || (type.DeclaringType is { } outer && IsInterop(outer));

    /// <summary>Checks through the metadata which members method bodies use, and the types of fields.</summary>
    private static void CheckReferences(Func<string, bool> isSubject, Func<string, bool> mayUse)
    {
        Module module = Core.ManifestModule;
        foreach (Type type in Core.GetTypes().Where(t => t.Namespace is not null && isSubject(t.Namespace)))
        {
            IEnumerable<Type?> used = type.GetFields(All).Select(f => (Type?)f.FieldType);
            foreach (MethodBase method in type.GetMethods(All).Cast<MethodBase>().Concat(type.GetConstructors(All)))
            {
                used = used.Concat(method.GetParameters().Select(p => (Type?)p.ParameterType));
                byte[]? body = method.GetMethodBody()?.GetILAsByteArray();
                for (int i = 0; body is not null && i + 4 < body.Length; i++)
                {
                    // call, callvirt, newobj, ldfld, stfld, ldsfld, ldtoken: instructions whose operand may be a token of ours.
                    if (body[i] is 0x28 or 0x6F or 0x73 or 0x7B or 0x7D or 0x7E or 0xD0)
                        used = used.Append(DeclaringType(module, BitConverter.ToInt32(body, i + 1)));
                }
            }
            foreach (Type? target in used)
            {
                if (target?.Assembly == Core && target.Namespace is { } name && name.StartsWith("AllocTools", StringComparison.Ordinal) && !isSubject(name))
                    Assert.True(mayUse(name), $"{type} uses {target}");
            }
        }
    }

    private static Type? DeclaringType(Module module, int token)
    {
        const int Field = 0x04;
        const int Method = 0x06;
        try
        {
            return (token >> 24) switch
            {
                Field => module.ResolveField(token)?.DeclaringType,
                Method => module.ResolveMethod(token)?.DeclaringType,
                _ => null,
            };
        }
        catch (ArgumentOutOfRangeException)
        {
            // It is not a token, but bytes of another instruction's operand.
            return null;
        }
    }
}
